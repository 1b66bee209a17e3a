"""Masked sequences through LSTMs that are one operator: equal to Keras at every length."""
import itertools

import keras
import numpy as np
import pytest

from export.conversion import convert
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.targets import microcontroller
from export.tflite import file as tflite_file
from models.recurrent import recurrent
from pipelines.tools.inspect_model import functions_of
from tests.export.conversion.test_fused import (
    FEATURES,
    RNG,
    SEQUENCES,
    STEPS,
    answers,
    both_ways,
    converted,
    functional,
    lstms,
    of_keras,
)

L = keras.layers


def masked_models():
    sequences = [lambda: [L.LSTM(5, return_sequences=True), L.LSTM(4, return_sequences=True)],
                 lambda: [L.LSTM(5, return_sequences=True), L.LSTM(4)],
                 lambda: [*both_ways("concat"), *both_ways("concat", False)],
                 lambda: [*both_ways("concat")],
                 lambda: [L.LSTM(4, go_backwards=True, return_sequences=True)],
                 lambda: [L.RNN([L.LSTMCell(4), L.LSTMCell(3)], go_backwards=True)],
                 lambda: [L.LSTM(4, return_sequences=True, zero_output_for_mask=True)],
                 lambda: [L.LSTM(4, return_sequences=True), L.GlobalAveragePooling1D()]]
    made = [lambda layers=layers: [L.Masking(0.0), *layers()] for layers in sequences]
    often = (0, 2, 4)
    return [one if number in often else pytest.param(one, marks=pytest.mark.slow) for number, one in enumerate(made)]


@pytest.mark.parametrize("layers", masked_models())
def test_masked_sequences_of_every_length(tmp_path, layers):
    """None of the steps, one, and so on to all of them; what Keras gives in masked steps is given too."""
    steps = 6
    model = functional(layers(), steps)
    given = np.where(np.tri(steps + 1, steps, -1, dtype=bool)[..., None], SEQUENCES[:steps + 1, :steps], 0)
    given = given.astype("float32")
    if isinstance(model.layers[-1], L.GlobalAveragePooling1D):
        given = given[1:]  # of nothing there is no mean
    predictor = converted(model, tmp_path)
    assert lstms(predictor) >= 1 and "WHILE" not in tflite_file.operators(predictor.path.read_bytes())
    np.testing.assert_allclose(answers(predictor, given), of_keras(model, given), atol=2e-6)


@pytest.mark.parametrize("layers", masked_models()[2:6])
def test_steps_are_masked_wherever_they_stand(tmp_path, layers):
    """In front, as `keras.utils.pad_sequences` pads, in the midst, and on both sides."""
    steps = 5
    model = functional(layers(), steps)
    masks = np.array(list(itertools.product([0, 1], repeat=steps)))
    given = np.where(masks[..., None], SEQUENCES[:len(masks), :steps], 0).astype("float32")
    predictor = converted(model, tmp_path)
    assert lstms(predictor) >= 1
    np.testing.assert_allclose(answers(predictor, given), of_keras(model, given), atol=2e-6)


def test_masked_tokens_in_integers(tmp_path):
    keras.utils.set_random_seed(3)
    tokens = keras.Input((STEPS,), dtype="int32", name="x")
    x = L.Embedding(30, FEATURES, mask_zero=True)(tokens)
    x = L.Bidirectional(L.LSTM(10, return_sequences=True))(x)
    model = keras.Model(tokens, {"y": L.Dense(3)(L.Bidirectional(L.LSTM(10))(x))})
    lengths = RNG.integers(1, STEPS + 1, 60)
    given = np.where(np.arange(STEPS) < lengths[:, None], RNG.integers(1, 30, (60, STEPS)), 0).astype("int32")
    given[::2] = given[::2, ::-1]  # padded in front
    expected = of_keras(model, given)
    predictor = converted(model, tmp_path, "int8", given[:40])
    assert lstms(predictor) == 4 and tflite_file.float_tensors(predictor.path.read_bytes()) == []
    assert np.abs(answers(predictor, given) - expected).mean() < 0.05 * expected.std()


def test_a_padded_sequence_and_its_length_go_in(tmp_path):
    """Of models of this package: equal to Keras under a mask at every length, whatever stands in the padding."""
    steps = 6
    keras.utils.set_random_seed(7)
    inputs, length = keras.Input((steps, FEATURES), name="x"), keras.Input((), dtype="int32", name="length")
    x = recurrent(inputs, units=(6, 5), length=length, bidirectional=True)
    model = keras.Model({"x": inputs, "length": length}, {"y": x})
    masked = functional([L.Masking(0.0), L.Bidirectional(L.LSTM(6, return_sequences=True)), L.Bidirectional(L.LSTM(5))],
                        steps)
    layers = sorted((layer for layer in model.layers if isinstance(layer, L.LSTM)),
                    key=lambda layer: (len(layer.name), layer.name))
    weights = iter(masked.get_weights())
    for layer in layers:
        layer.set_weights([next(weights) for _ in layer.weights])
    lengths = np.arange(1, steps + 1, dtype="int32")
    there = np.arange(steps) < lengths[:, None]
    expected = of_keras(masked, np.where(there[..., None], SEQUENCES[:steps, :steps], 0))
    given = {"x": np.where(there[..., None], SEQUENCES[:steps, :steps], 99).astype("float32"), "length": lengths}
    convert.float_graph(model, functions_of, tmp_path / "graph")
    for encoding, allowed in (("float32", 1e-6), ("int8", 0.05)):
        clean = {"x": np.where(there[..., None], SEQUENCES[:steps, :steps], 0).astype("float32"), "length": lengths}
        calibration = [(graph.signature_of(model).name, clean)] if encoding == "int8" else None
        path = tmp_path / f"{encoding}.tflite"
        path.write_bytes(convert.convert(tmp_path / "graph", encoding, calibration))
        predictor = LiteRTPredictor(path)
        assert lstms(predictor) == 4
        np.testing.assert_allclose(predictor.predict(given)["y"], expected, atol=allowed)


def test_no_mask_comes_behind_the_last_step(tmp_path):
    """As many classes as steps, so that a mask of steps would fit them."""
    steps = 6
    model = functional([L.Masking(0.0), L.LSTM(5), L.Dense(steps), L.Softmax()], steps)
    given = np.where(np.tri(steps, dtype=bool)[..., None], SEQUENCES[:steps, :steps], 0).astype("float32")
    predictor = converted(model, tmp_path)
    assert lstms(predictor) == 1
    np.testing.assert_allclose(answers(predictor, given), of_keras(model, given), atol=1e-6)


def test_a_microcontroller_names_the_operator_that_it_has_not(tmp_path):
    pytest.importorskip("tflite_micro")
    predictor = converted(functional([L.Masking(0.0), L.LSTM(5)], 6), tmp_path)
    with pytest.raises(ValueError, match=r"cannot run it: .* 'REDUCE_ANY'"):
        microcontroller.arena_bytes(predictor.path.read_bytes())
