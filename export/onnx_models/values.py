"""Tensors of an ONNX graph, which counts its axes channels first, and how they are stored.

TensorFlow's convolutions and the files for phones have channels last. So what a convolution gives stays stored so
until an operator needs the order that ONNX means: a network of convolutions is turned once at its beginning.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Most numbers that a constant may have which the graph makes of others.
LARGEST = 2 ** 28


class Value:
    """A tensor, or an array that is constant.

    Args:
        first: with its axes as ONNX has them.
        last: with the channels, which ONNX has second, at the end. One of both is given, the other made on demand.
        positive: no number in it is below 0.
    """

    def __init__(self, first: Any = None, last: Any = None, positive: bool = False):
        self._first, self._last, self.positive = first, last, positive

    @property
    def first(self) -> Any:
        """Return it with its axes as ONNX has them."""
        if self._first is None:
            self._first = permuted(self._last, to_first(len(self._last.shape)))
        return self._first

    @property
    def last(self) -> Any:
        """Return it with the channels at the end."""
        if self._last is None:
            self._last = permuted(self._first, to_last(len(self._first.shape)))
        return self._last

    @property
    def is_last(self) -> bool:
        """Return whether it is stored with the channels at the end alone."""
        return self._first is None

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Return the shape as ONNX has it; None where a size is not known."""
        if self._first is not None:
            return sizes(self._first)
        stored = sizes(self._last)
        return tuple(stored[axis] for axis in to_first(len(stored)))

    @property
    def constant(self) -> np.ndarray | None:
        """Return the array that it is, where it is known before the model is asked."""
        value = self._last if self._first is None else self._first
        return self.first if isinstance(value, np.ndarray) else None

    def stored(self, axes: Sequence[int]) -> list[int]:
        """Return where axes, counted as ONNX does, are in what is stored."""
        rank = len(self.shape)
        positive = [axis % rank for axis in axes]
        return [to_last(rank).index(axis) for axis in positive] if self.is_last else positive

    def like(self, array: Any, positive: bool = False) -> Value:
        """Return a value of an array that is stored as this one is."""
        return Value(last=array, positive=positive) if self.is_last else Value(array, positive=positive)

    @property
    def raw(self) -> Any:
        """Return what is stored."""
        return self._last if self.is_last else self._first


def to_last(rank: int) -> tuple[int, ...]:
    """Return the order of axes that brings channels from the second place to the end."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def to_first(rank: int) -> tuple[int, ...]:
    """Return the order of axes that brings channels from the end to the second place."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 2 else tuple(range(rank))


def sizes(array: Any) -> tuple[int | None, ...]:
    """Return a static shape."""
    return tuple(array.shape.as_list()) if hasattr(array.shape, "as_list") else tuple(array.shape)


def permuted(array: Any, order: Sequence[int]) -> Any:
    """Return an array with its axes in another order; where no number changes its place by that, as a reshape.

    Of more than four axes those of size 1 are left out while it is turned: TensorFlow's converter fails at some.
    """
    if list(order) == list(range(len(order))):
        return array
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(np.transpose(array, order))
    known = sizes(array)
    moving = [axis for axis in order if known[axis] != 1]
    if sum(size is None for size in known) < 2 and (moving == sorted(moving) or len(known) > 4):
        target = [-1 if known[axis] is None else known[axis] for axis in order]
        if moving != sorted(moving):
            array = tf.reshape(array, [-1 if known[axis] is None else known[axis] for axis in sorted(moving)])
            array = tf.transpose(array, [sorted(moving).index(axis) for axis in moving])
        return tf.reshape(array, target)
    return tf.transpose(array, order)


def aligned(values: Sequence[Value]) -> tuple[list[Any], bool]:
    """Return the arrays of values that are combined number by number, and whether they are stored channels last."""
    rank = max(len(value.shape) for value in values)
    if not any(value.is_last and len(value.shape) == rank for value in values):
        return [value.first for value in values], False
    return [_turned(value, rank) for value in values], True


def _turned(value: Value, rank: int) -> Any:
    """Return an array channels last that broadcasts with others of a rank as ONNX lets it."""
    if math.prod(size or 0 for size in value.shape) == 1:
        return reshaped(value.first, ())
    turned = value.last
    if len(value.shape) < rank:
        first = value.first
        for _ in range(rank - len(value.shape)):
            first = first[None] if isinstance(first, np.ndarray) else tf.expand_dims(first, 0)
        turned = permuted(first, to_last(rank))
    while isinstance(turned, np.ndarray) and turned.ndim > 1 and turned.shape[0] == 1:
        turned = turned[0]
    return turned


def reshaped(array: Any, shape: Any) -> Any:
    """Return an array in another shape."""
    return array.reshape(shape) if isinstance(array, np.ndarray) else tf.reshape(array, shape)


def integers(value: Value | None, what: str) -> list[int]:
    """Return the whole numbers that an input of an operator holds. Raises ValueError where they are computed."""
    array = None if value is None else value.constant
    if array is None:
        raise ValueError(f"its {what} depends on what the model is given; only a constant one can be read")
    return [int(number) for number in np.ravel(array)]


def check_size(shape: Sequence[int | None]) -> None:
    """Raise ValueError where an array is larger than any that a model for phones has."""
    if math.prod(size or 1 for size in shape) > LARGEST:
        raise ValueError(f"it makes {math.prod(size or 1 for size in shape):,} numbers; there may be {LARGEST:,}")
