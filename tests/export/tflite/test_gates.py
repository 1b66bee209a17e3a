"""What the integer kernel of an LSTM cuts off of its gates, and that it is said."""
import keras
import numpy as np
import pytest

from export.tflite import explain, gates
from tests.export.conversion.test_fused import SEQUENCES, answers, converted, functional, of_keras

UNITS = 6


def lstm_of(bias: float) -> keras.Model:
    """An LSTM whose state takes off what its bias gives its gates in excess, once it is there."""
    model = functional([keras.layers.LSTM(UNITS, return_sequences=True)])
    kernel, recurrent, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 0.5, recurrent - bias / UNITS, np.full(4 * UNITS, bias, "float32")])
    return model


def cut_by_hand(model: keras.Model) -> np.ndarray:
    """The same, in NumPy, the gates cut off as the kernel does."""
    kernel, recurrent, bias = model.layers[-1].get_weights()
    hidden = cell = np.zeros((len(SEQUENCES), UNITS))
    steps = []
    for x in SEQUENCES.transpose(1, 0, 2):
        sums = np.clip(np.clip(x @ kernel + bias, -gates.REACH, gates.REACH) + hidden @ recurrent, -8, 8)
        comes, stays, candidate, goes = np.split(sums, 4, axis=1)
        comes, stays, goes = (1 / (1 + np.exp(-one)) for one in (comes, stays, goes))
        cell = stays * cell + comes * np.tanh(candidate)
        hidden = goes * np.tanh(cell)
        steps.append(hidden)
    return np.stack(steps, axis=1)


@pytest.mark.parametrize(("bias", "cut"), [(2.0, False), (12.0, True)])
def test_gates_are_cut_off_before_the_state_is_added(tmp_path, bias, cut):
    model = lstm_of(bias)
    exact, rounded = (converted(model, tmp_path / encoding, encoding, SEQUENCES) for encoding in ("float32", "int8"))
    error = np.abs(answers(rounded, SEQUENCES) - of_keras(model, SEQUENCES)).mean()
    left = np.abs(answers(rounded, SEQUENCES) - cut_by_hand(model)).mean()
    assert (error > 5 * left) == cut, "the kernel computes what is computed by hand here"
    assert left < 0.02
    layer, = [one for one in explain.layer_errors(rounded.path.read_bytes(), exact.path.read_bytes(),
                                                  {"x": SEQUENCES[:4]}) if one.operator.endswith("LSTM")]
    assert (layer.cut > 0.5) == cut
    assert ("smaller weights" in explain.advice(layer)) == cut
