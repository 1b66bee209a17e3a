"""Masked sequences through LSTMs that are one operator: equal to Keras at every length."""
import keras
import numpy as np
import pytest

from export.tflite import file as tflite_file
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
    return [lambda layers=layers: [L.Masking(0.0), *layers()] for layers in sequences]


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


def test_masked_tokens_in_integers(tmp_path):
    keras.utils.set_random_seed(3)
    tokens = keras.Input((STEPS,), dtype="int32", name="x")
    x = L.Embedding(30, FEATURES, mask_zero=True)(tokens)
    x = L.Bidirectional(L.LSTM(10, return_sequences=True))(x)
    model = keras.Model(tokens, {"y": L.Dense(3)(L.Bidirectional(L.LSTM(10))(x))})
    lengths = RNG.integers(1, STEPS + 1, 60)
    given = np.where(np.arange(STEPS) < lengths[:, None], RNG.integers(1, 30, (60, STEPS)), 0).astype("int32")
    expected = of_keras(model, given)
    predictor = converted(model, tmp_path, "int8", given[:40])
    assert lstms(predictor) == 4 and tflite_file.float_tensors(predictor.path.read_bytes()) == []
    assert np.abs(answers(predictor, given) - expected).mean() < 0.05 * expected.std()
