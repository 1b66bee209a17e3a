"""The window inside a model: what it computes, in Keras, in files, and in integers."""
import keras
import numpy as np
import pytest

import models
from export.conversion import convert, front, int8
from export.keras_models import file as keras_file
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import Signature, Tensor
from export.tflite import file as tflite_file
from export.tflite.trace import Trace
from pipelines.training import window_front

WINDOW = (-160.0, 240.0)


@pytest.fixture(scope="module")
def networks():
    """Return a U-Net of pixels, and the same with a window."""
    keras.utils.set_random_seed(0)
    plain = models.build("unet", input_shape=(16, 16, 3), classes=2, width=4, depth=2, batch_norm=True)
    return plain, window_front.added(plain, {"image": WINDOW})


def scans(count):
    return np.random.default_rng(0).integers(-1024, 3000, (count, 16, 16, 3)).astype("float32")


def test_it_is_scaled_and_cut_off(networks):
    plain, windowed = networks
    values = scans(4)
    seen = np.clip((values + 160) / 400, 0, 1) * 255
    np.testing.assert_allclose(windowed(values, training=False), plain(seen, training=False), atol=1e-4)
    assert windowed.name == plain.name and [tensor.name for tensor in windowed.inputs] == ["image"]
    assert models.named_outputs(windowed).keys() == {"logits"}
    assert window_front.added(plain, {}) is plain


def test_it_is_in_the_file(networks, tmp_path):
    _, windowed = networks
    keras_file.save(windowed, tmp_path / "m.keras")
    values = scans(4)
    again = keras_file.load(tmp_path / "m.keras")
    np.testing.assert_array_equal(models.named_outputs(again)["logits"].shape, (None, 16, 16, 2))
    np.testing.assert_array_equal(again(values, training=False), windowed(values, training=False))


def test_integer_files_take_raw_values_and_window_them_in_float(networks, tmp_path):
    _, windowed = networks
    signature = Signature(inputs=(Tensor(name="image", dtype="float32", shape=(16, 16, 3)),),
                          outputs=(Tensor(name="logits", dtype="float32", shape=(16, 16, 2), role="logits"),))
    convert.float_graph(windowed, lambda model: [graph.function(model, signature)], tmp_path / "graph")
    kept = front.operators(convert.convert(tmp_path / "graph", "float32"))
    names = [step.operator for step in Trace(convert.convert(tmp_path / "graph", "float32")).steps
             if step.number in kept]
    assert {"MUL", "ADD", "MINIMUM"} <= set(names) <= {"MUL", "ADD", "MINIMUM", "RELU", "MAXIMUM"}
    calibrated = int8.calibrate(tmp_path / "graph", [("serving_default", {"image": scans(64)})])
    integers = int8.quantize(calibrated, per_channel=True, keep_float=front.operators(calibrated), integer_io=True)
    assert set(tflite_file.float_operators(integers)) <= set(names)
    (tmp_path / "m.tflite").write_bytes(integers)
    values = scans(8)
    expected = np.asarray(windowed(values, training=False))
    answered = LiteRTPredictor(tmp_path / "m.tflite").predict({"image": values})["logits"]
    assert np.abs(answered - expected).max() < 0.1 * np.abs(expected).max()
