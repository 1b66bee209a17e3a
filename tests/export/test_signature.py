"""Tensors: what they take."""
import pytest

from export.signature import Tensor


@pytest.mark.parametrize(("dtype", "shape", "expected"), [
    ("uint8", (4, 5, 3), 60), ("bool", (2,), 2), ("float32", (), 4), ("int32", (None, 3), 12), ("int64", (2,), 16),
    ("string", (2,), 16)])
def test_the_bytes_of_an_example(dtype, shape, expected):
    assert Tensor(name="x", dtype=dtype, shape=shape).bytes == expected
