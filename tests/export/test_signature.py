"""Tensors: what they take."""
import numpy as np
import pytest

from export.signature import Signature, Tensor


@pytest.mark.parametrize(("dtype", "shape", "expected"), [
    ("uint8", (4, 5, 3), 60), ("bool", (2,), 2), ("float32", (), 4), ("int32", (None, 3), 12), ("int64", (2,), 16),
    ("string", (2,), 16)])
def test_the_bytes_of_an_example(dtype, shape, expected):
    assert Tensor(name="x", dtype=dtype, shape=shape).bytes == expected


def test_a_vector_takes_as_many_numbers_in_their_order():
    vector = Signature(inputs=(Tensor(name="columns", dtype="float32", shape=(3,)),), outputs=())
    columns = {"age": np.array([1.5, 2.5]), "year": np.array([2000, 2001]), "city": np.array([0, 4], "int32")}
    fitted = vector.fit(columns)
    np.testing.assert_array_equal(fitted["columns"], np.array([[1.5, 2000, 0], [2.5, 2001, 4]], "float32"))
    with pytest.raises(ValueError, match="the input columns is missing; there are age, year"):
        vector.fit({"age": np.zeros(2), "year": np.zeros(2)})


def test_random_vectors_hold_positions_that_there_are():
    parts = (Tensor(name="age", dtype="float32", shape=()),
             Tensor(name="city", dtype="int32", shape=(), words=("(unknown)", "Rome")))
    signature = Signature(inputs=(Tensor(name="columns", dtype="float32", shape=(2,), parts=parts),), outputs=())
    values = signature.example(50)["columns"]
    assert values.shape == (50, 2) and values.dtype == "float32"
    assert set(values[:, 1]) == {0, 1} and len(set(values[:, 0])) == 50
