"""Files of one step put into a loop: the same answers, in integers too, of which the converter makes no loop."""
import numpy as np
import pytest

from export.predictors import LiteRTPredictor
from export.tflite import file as tflite_file
from export.tflite import loop
from tests.export.conversion.test_streaming import MODELS, SEQUENCES, STEPS, model_of, streamed


@pytest.mark.parametrize("name", ["gru", pytest.param("lstm", marks=pytest.mark.slow), "inner model"])
@pytest.mark.parametrize("encoding", [pytest.param("float32", marks=pytest.mark.slow), "int8"])
def test_a_loop_answers_what_its_steps_do_one_after_the_other(tmp_path, name, encoding):
    model = model_of(*MODELS[name]())
    steps = streamed(model, tmp_path, encoding=encoding)
    content = loop.looped((tmp_path / f"{encoding}.tflite").read_bytes(), STEPS)
    assert tflite_file.operators(content)["WHILE"] == 1
    assert encoding == "float32" or tflite_file.float_tensors(content) == []
    (tmp_path / "loop.tflite").write_bytes(content)
    predictor = LiteRTPredictor(tmp_path / "loop.tflite")
    answers = predictor.predict({"x": SEQUENCES})["y"]
    np.testing.assert_array_equal(answers, steps.predict({"x": SEQUENCES})["y"])
    np.testing.assert_array_equal(predictor.predict({"x": SEQUENCES[::-1]})["y"][::-1], answers)
    expected = model.predict({"x": SEQUENCES}, verbose=0)["y"]
    assert np.abs(answers - expected).mean() < (1e-6 if encoding == "float32" else 0.06 * np.abs(expected).max())


def test_microcontrollers_run_the_loop(tmp_path):
    pytest.importorskip("tflite_micro")
    from export.predictors.micro import MicroPredictor
    from export.targets import microcontroller

    streamed(model_of(*MODELS["gru"]()), tmp_path, encoding="int8")
    content = loop.looped((tmp_path / "int8.tflite").read_bytes(), STEPS)
    (tmp_path / "loop.tflite").write_bytes(content)
    path, _ = microcontroller.write(content, "loop", tmp_path)
    answers = MicroPredictor(path).predict({"x": SEQUENCES})["y"]
    np.testing.assert_allclose(answers, LiteRTPredictor(tmp_path / "loop.tflite").predict({"x": SEQUENCES})["y"],
                               atol=0.05)


def test_several_steps_at_a_time_are_refused(tmp_path):
    streamed(model_of(*MODELS["lstm"]()), tmp_path, chunk=4)
    with pytest.raises(ValueError, match="the file is asked 4 steps at a time; a loop asks one"):
        loop.looped((tmp_path / "float32.tflite").read_bytes(), STEPS)
