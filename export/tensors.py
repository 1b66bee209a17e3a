"""Tensors as files describe them: with a type and a shape, and no role."""
from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from export.signature import DType, Tensor, guessed_role

#: Types that a `Tensor` has no name of, and the wider ones that it has.
WIDER: dict[str, DType] = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64",
                           "float16": "float32", "bfloat16": "float32", "float64": "float32"}


def described(name: str, dtype: str, shape: Sequence[int | None], *, output: bool = False) -> Tensor:
    """Return a file's tensor as a signature shows it, its role guessed.

    Args:
        dtype: NumPy's or TensorFlow's name of the type; narrow integers count as int32, other real numbers as float32.
        shape: with the batch; None, or below 0, where a size varies.

    Raises:
        ValueError: the tensor holds neither numbers, booleans nor text.
    """
    wider = WIDER.get(dtype, dtype)
    if wider not in get_args(DType):
        raise ValueError(f"the tensor {name} is of the type {dtype}: neither numbers, booleans nor text")
    sizes = tuple(None if size is None or size < 0 else int(size) for size in shape[1:])
    return Tensor(name=name, dtype=wider, shape=sizes, role=guessed_role(name, wider, sizes, output=output))
