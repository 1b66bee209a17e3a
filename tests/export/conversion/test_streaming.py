"""Models that are asked a few steps at a time, equal to what they are over whole sequences."""
import keras
import numpy as np
import pytest

from export.conversion import convert, int8
from export.conversion.streaming import StreamingError, streaming
from export.keras_models import graph
from export.predictors import open_predictor
from export.predictors.streamed import StreamedPredictor
from export.tflite import file as tflite_file
from export.tflite import loop, signatures

L = keras.layers
STEPS, FEATURES = 12, 5
SEQUENCES = np.random.default_rng(0).normal(size=(6, STEPS, FEATURES)).astype("float32")


def model_of(*layers) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((STEPS, FEATURES), name="x")
    x = inputs
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, {"y": x})


def streamed(model, folder, chunk=1, encoding="float32") -> StreamedPredictor:
    made = streaming(model, chunk)
    if not (folder / "graph").exists():
        convert.float_graph(made.model, lambda written: [graph.function(written, made.signature)], folder / "graph")
    path = folder / f"{encoding}.tflite"
    if encoding == "int16x8":
        calls = streamed(model, folder, chunk).calls({"x": SEQUENCES})
        calibration = [(made.signature.name, calls)]
        path.write_bytes(loop.with_one_coding(convert.convert(folder / "graph", "int16x8", calibration)))
    elif encoding == "int8":
        calls = streamed(model, folder, chunk).calls({"x": SEQUENCES})
        calibrated = int8.calibrate(folder / "graph", [(made.signature.name, calls)], apart=True)
        path.write_bytes(loop.with_one_coding(int8.quantize(int8.with_one_range(calibrated, made.states))))
    else:
        path.write_bytes(convert.convert(folder / "graph", encoding))
    predictor = open_predictor(path)
    assert isinstance(predictor, StreamedPredictor)
    return predictor


class Twice:
    """A sequence joined with itself."""

    def __init__(self, axis):
        self.layer = L.Concatenate(axis=axis)

    def __call__(self, x):
        return self.layer([x, x])


MODELS = {
    "lstm": lambda: [L.LSTM(6, return_sequences=True), L.LSTM(4)],
    "gru": lambda: [L.GRU(6, return_sequences=True), L.Dense(3, activation="relu"), L.GRU(4, return_sequences=True)],
    "rnn of cells": lambda: [L.RNN([L.LSTMCell(4), L.SimpleRNNCell(3)], return_sequences=True), L.Dropout(0.5)],
    "causal convolutions": lambda: [
        L.Conv1D(6, 3, dilation_rate=2, padding="causal", activation="relu"), L.LayerNormalization(),
        L.Conv1D(4, 2, padding="causal"), L.BatchNormalization()],
    "joined": lambda: [Twice(axis=-1), L.GRU(3, return_sequences=True), L.Dense(4), L.Softmax()],
    "inner model": lambda: [keras.Sequential([keras.Input((STEPS, FEATURES)), L.GRU(4, return_sequences=True)]),
                            L.SimpleRNN(3)]}


@pytest.mark.parametrize("chunk", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("name", MODELS)
def test_steps_one_after_the_other_are_equal_to_the_whole(tmp_path, name, chunk):
    model = model_of(*MODELS[name]())
    predictor = streamed(model, tmp_path, chunk)
    expected = model.predict({"x": SEQUENCES}, verbose=0)["y"]
    np.testing.assert_allclose(predictor.predict({"x": SEQUENCES})["y"], expected, atol=1e-6)
    assert "WHILE" not in tflite_file.operators((tmp_path / "float32.tflite").read_bytes())


def test_what_is_remembered_is_in_the_signature(tmp_path):
    streamed(model_of(L.LSTM(6)), tmp_path)
    file = signatures.main((tmp_path / "float32.tflite").read_bytes())
    assert file.name == "stream_so_far"
    assert {name: info.shape for name, info in file.inputs.items()} == {
        "x": (1, 1, FEATURES), "state_0": (1, 6), "state_1": (1, 6)}
    assert set(file.outputs) == {"y", "state_0", "state_1"}


@pytest.mark.parametrize("encoding", ["int8", "int16x8"])
def test_integers_hand_on_what_they_remember_as_it_is(tmp_path, encoding):
    model = model_of(L.GRU(6, return_sequences=True), L.LSTM(8))
    predictor = streamed(model, tmp_path, encoding=encoding)
    content = (tmp_path / f"{encoding}.tflite").read_bytes()
    assert tflite_file.float_tensors(content) == []
    file = signatures.main(content)
    for name in ("state_0", "state_1", "state_2"):
        taken, given = file.inputs[name], file.outputs[name]
        assert (taken.scale, taken.zero) == (given.scale, given.zero)
    expected = model.predict({"x": SEQUENCES}, verbose=0)["y"]
    assert np.abs(predictor.predict({"x": SEQUENCES})["y"] - expected).mean() < 0.1 * np.abs(expected).max()


def test_microcontrollers_take_steps(tmp_path):
    pytest.importorskip("tflite_micro")
    from export.targets import microcontroller

    model = model_of(L.GRU(6), L.Dense(3))
    expected = streamed(model, tmp_path, encoding="int8").predict({"x": SEQUENCES})["y"]
    path, _ = microcontroller.write((tmp_path / "int8.tflite").read_bytes(), "steps", tmp_path)
    predictor = open_predictor(path)
    assert isinstance(predictor, StreamedPredictor)
    np.testing.assert_allclose(predictor.predict({"x": SEQUENCES})["y"], expected, atol=0.05)


@pytest.mark.parametrize(("layers", "message"), [
    (lambda: [L.Bidirectional(L.LSTM(3))], "goes through the sequence backwards, which is not there yet"),
    (lambda: [L.GRU(3, go_backwards=True)], "goes through the sequence backwards, which is not there yet"),
    (lambda: [L.Conv1D(3, 3, padding="same")], "sees steps that have not come yet; its padding must be causal"),
    (lambda: [L.Conv1D(3, 2, strides=2, padding="causal")], "has a stride, or its channels first"),
    (lambda: [L.GlobalAveragePooling1D()], "sees the whole sequence, which is not there yet"),
    (lambda: [L.LayerNormalization(axis=1)], "sees the whole sequence, which is not there yet"),
    (lambda: [L.Softmax(axis=1)], "sees the whole sequence, which is not there yet"),
    (lambda: [Twice(axis=1)], "sees the whole sequence, which is not there yet"),
    (lambda: [L.Masking(), L.LSTM(3)], "sees the whole sequence|has a mask|not known to see")])
def test_what_needs_steps_that_have_not_come_is_named(layers, message):
    with pytest.raises(StreamingError, match=message):
        streaming(model_of(*layers()))


def test_chunks_that_do_not_divide_a_sequence_are_refused(tmp_path):
    predictor = streamed(model_of(L.LSTM(3)), tmp_path, chunk=4)
    with pytest.raises(ValueError, match="a sequence of 10 steps does not divide into chunks of 4"):
        predictor.predict({"x": SEQUENCES[:, :10]})
