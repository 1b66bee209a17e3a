"""What a file takes and gives, as it is stored."""
import numpy as np

from export.tflite import signatures


def test_examples_beyond_what_integers_reach_are_told():
    info = signatures.TensorInfo(name="x", shape=(1, 2), dtype="int8", scale=0.1, zero=28)  # -15.6 to 9.9
    values = np.array([[0.0, 9.9], [0.0, 10.0], [-15.64, 0.0], [-16.0, 0.0]])
    assert info.beyond(values).tolist() == [False, True, False, True]
    real = signatures.TensorInfo(name="x", shape=(1, 2), dtype="float32")
    assert not real.beyond(1e9 * values).any()
