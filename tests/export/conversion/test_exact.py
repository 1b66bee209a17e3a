"""Sound in files of fewer bits: the front end stays as it was trained, the network behind it does not."""
import keras
import numpy as np
import pytest

import models
from export.conversion import convert, exact, front, int8
from export.keras_models import graph
from export.predictors import open_predictor
from export.signature import Function, Signature, Tensor
from export.targets import microcontroller
from export.tflite import file as tflite_file
from export.tflite.trace import Trace
from models.front_end import NAME

SAMPLES = 4000
RATE = 8000


@pytest.fixture(scope="module", params=["rfft", pytest.param("convolution", marks=pytest.mark.slow)])
def model(request, tmp_path_factory):
    """Return the folder of a graph of sound, its inputs, and what the model answers."""
    keras.utils.set_random_seed(0)
    model = models.build("ds_cnn_audio", samples=SAMPLES, rate=RATE, classes=4, filters=16, blocks_after=1,
                         front={"window": 0.03, "hop": 0.02, "mels": 32, "form": request.param})
    signature = Signature(inputs=(Tensor(name="audio", dtype="float32", shape=(SAMPLES,), role="waveform"),),
                          outputs=(Tensor(name="logits", dtype="float32", shape=(4,), role="logits"),))
    folder = tmp_path_factory.mktemp("sound") / "graph"
    convert.float_graph(model, lambda written: [graph.function(written, signature)], folder)
    noise = np.random.default_rng(0).normal(size=(30, SAMPLES)) * np.logspace(-3, -0.5, 30)[:, None]
    given = {"audio": noise.astype("float32")}
    return folder, given, np.asarray(model(given["audio"], training=False))


def errors(content, model, path):
    _, given, expected = model
    path.write_bytes(content)
    return abs(open_predictor(path).predict(given)["logits"] - expected).max() / expected.std()


def test_all_of_the_front_end_is_named_by_its_layer(model):
    folder, given, _ = model
    steps = Trace(int8.calibrate(folder, [("serving_default", given)])).steps
    chosen = front.named(Trace(convert.convert(folder, "float32")), [NAME])
    assert chosen == list(range(len(chosen)))
    assert steps[chosen[-1]].operator == "LOG"
    assert steps[len(chosen)].operator == "RESHAPE"


@pytest.mark.parametrize("encoding", ["dynamic", "float16"])
def test_fewer_bits_of_the_network_leave_the_front_end_exact(model, tmp_path, encoding):
    folder = model[0]
    coarse = convert.convert(folder, encoding)
    content = exact.with_exact(coarse, convert.convert(folder, "float32"), [NAME])
    spoilt, kept = (errors(one, model, tmp_path / "one.tflite") for one in (coarse, content))
    assert kept < 0.05
    if encoding == "dynamic":
        assert spoilt > 4 * kept
    assert "float16" not in {str(tensor.type) for tensor in tflite_file.read(content).subgraphs[0].tensors}


def test_an_integer_network_stands_behind_a_front_end_in_real_numbers(model, tmp_path):
    folder, given, _ = model
    calibration = [("serving_default", given)]
    calibrated = int8.calibrate(folder, calibration)
    kept = front.named(Trace(calibrated), [NAME])
    content = exact.with_exact(int8.quantize(calibrated, keep_float=kept), convert.convert(folder, "float32"), [NAME])
    trace = Trace(content)
    assert [trace.is_quantized(step.output) for step in trace.steps] == [False] * len(kept) + [True] * (
        len(trace.steps) - len(kept))
    assert tflite_file.operators(content)["QUANTIZE"] == 1
    whole = convert.convert(folder, "int8", calibration, all_integer=False)
    assert errors(content, model, tmp_path / "kept.tflite") < 0.2 < errors(whole, model, tmp_path / "whole.tflite")


def test_a_microcontroller_runs_the_front_end_by_convolution_alone(model):
    pytest.importorskip("tflite_micro")
    folder, given, expected = model
    content = convert.convert(folder, "float32")
    if "RFFT2D" in tflite_file.operators(content):
        with pytest.raises(ValueError, match=r"TensorFlow Lite Micro has no RFFT2D.*model\.front\.form"):
            microcontroller.arena_bytes(content)
        return
    interpreter = microcontroller.runtime().Interpreter.from_bytes(
        content, arena_size=microcontroller.arena_bytes(content))
    interpreter.set_input(given["audio"][:1], 0)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_output(0), expected[:1], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), [("crnn", {"cell": "lstm", "units": (16,), "dense": 16}),
                                                ("conformer", {"depth": 1, "units": 16, "heads": 2}),
                                                ("bc_resnet", {})])
def test_other_networks_are_integers_behind_a_front_end_too(name, settings, tmp_path):
    keras.utils.set_random_seed(0)
    model = models.build(name, samples=8000, rate=16_000, classes=4, **settings)
    signature = Signature(inputs=(Tensor(name="audio", dtype="float32", shape=(8000,), role="waveform"),), outputs=(
        Tensor(name="logits", dtype="float32", shape=tuple(model.output.shape[1:]), role="logits"),))
    convert.float_graph(model, lambda written: [graph.function(written, signature)], tmp_path / "graph")
    sounds = (0.1 * np.random.default_rng(0).normal(size=(8, 8000))).astype("float32")
    calibrated = int8.calibrate(tmp_path / "graph", [("serving_default", {"audio": sounds})])
    kept = front.named(Trace(calibrated), [NAME])
    content = exact.with_exact(int8.quantize(calibrated, keep_float=kept),
                               convert.convert(tmp_path / "graph", "float32"), [NAME])
    assert tflite_file.operators(content).get("UNIDIRECTIONAL_SEQUENCE_LSTM", 0) == (2 if name == "crnn" else 0)
    trace = Trace(content)
    assert all(trace.is_quantized(step.output) for step in trace.steps[len(kept):] if step.operator != "SPLIT_V")
    folder = tmp_path / "graph"
    expected = np.asarray(model(sounds, training=False))
    assert errors(content, (folder, {"audio": sounds}, expected), tmp_path / "one.tflite") < 0.25


def test_files_of_two_models_are_refused(model):
    folder, _, _ = model
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    import tensorflow as tf

    other = tf.lite.TFLiteConverter.from_keras_model(dense).convert()
    with pytest.raises(ValueError, match="operators that stay float 0 are found"):
        exact.with_exact(other, convert.convert(folder, "float32"), [NAME])


@pytest.mark.parametrize("encoding", ["float16", "dynamic", "int8_weights"])
def test_a_signature_keeps_its_weights_where_others_have_fewer_bits(encoding, tmp_path):
    keras.utils.set_random_seed(0)
    shape = (64,)
    x = keras.Input(shape)
    outputs = [keras.layers.Dense(64)(keras.layers.Dense(64, activation="relu")(x)) for _ in range(2)]
    whole, first, second = (keras.Model(x, one) for one in (outputs, *outputs))
    signatures = [Signature(name=name, inputs=(Tensor(name="x", dtype="float32", shape=shape),),
                            outputs=(Tensor(name="y", dtype="float32", shape=shape),))
                  for name in ("serving_default", "drawn")]
    functions = [Function(signatures[0], lambda x: {"y": first(x, training=False)}),
                 Function(signatures[1], lambda x: {"y": second(x, training=False)})]
    graph.write(whole, tmp_path / "graph", functions, batch=1)
    plain, coarse = (convert.convert(tmp_path / "graph", one) for one in ("float32", encoding))
    content = exact.with_exact_signatures(coarse, plain, ["drawn"])
    inputs = {"x": np.random.default_rng(0).normal(size=(9, *shape)).astype("float32")}
    answers = []
    for number, one in enumerate((plain, coarse, content)):
        (tmp_path / f"{number}.tflite").write_bytes(one)
        predictor = open_predictor(tmp_path / f"{number}.tflite")
        answers.append({name: predictor.predict(inputs, name)["y"] for name in ("serving_default", "drawn")})
    exactly, spoilt, kept = answers
    assert np.abs(spoilt["drawn"] - exactly["drawn"]).max() > 1e-4
    np.testing.assert_array_equal(kept["drawn"], exactly["drawn"])
    np.testing.assert_array_equal(kept["serving_default"], spoilt["serving_default"])
    assert len(coarse) < len(content) < len(plain)
