"""Pools along one and two axes, and over all of them."""
from __future__ import annotations

import itertools
from typing import Any

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value
from export.onnx_models.windows import Windows, windows

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node, x: Value) -> Value:
    reduce = tf.reduce_mean if node.kind == "GlobalAveragePool" else tf.reduce_max
    return Value(last=reduce(x.last, list(range(1, len(x.shape) - 1)), keepdims=True), positive=x.positive)


@operator("MaxPool")
def max_pool(node: Node, x: Value) -> Value:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise ValueError("it gives where the largest numbers are as well, which is not read")
    place = windows(node, x, node.get("kernel_shape"))
    if max(place.dilations) > 1:
        return Value(last=_largest(_around(x.last, place, x.positive), place), positive=x.positive)
    same = place.same
    pixels = x.last if same or place.valid else _around(x.last, place, x.positive)
    return Value(last=_pooled(tf.nn.max_pool2d, pixels, place, "SAME" if same else "VALID"), positive=x.positive)


@operator("AveragePool")
def average_pool(node: Node, x: Value) -> Value:
    place = windows(node, x, node.get("kernel_shape"))
    if max(place.dilations) > 1:
        raise ValueError("it has dilations, which are not read")
    with_pads = bool(node.get("count_include_pad", 0))
    if place.same and (place.valid or not with_pads):
        return Value(last=_pooled(tf.nn.avg_pool2d, x.last, place, "SAME"), positive=x.positive)
    pixels = x.last if place.valid else tf.pad(x.last, [(0, 0), *place.around, (0, 0)])
    result = _pooled(tf.nn.avg_pool2d, pixels, place, "VALID")
    shares = np.ones((), "float32")
    for axis in range(len(place.kernel)):
        shares = shares[..., None] * _shares(place, axis, with_pads)
    return Value(last=result if (shares == 1).all() else result * shares[..., None], positive=x.positive)


def _shares(place: Windows, axis: int, with_pads: bool) -> np.ndarray:
    """Return by what each window's mean is too small, as not all of it counts."""
    size, extent, (before, after) = place.sizes[axis], place.kernel[axis], place.pads[axis]
    counts = np.pad(np.ones(size + (before + after if with_pads else 0)),
                    (0, 0) if with_pads else (before, after)).tolist() + [0.0] * place.beyond[axis]
    starts = [number * place.strides[axis] for number in range(place.outputs[axis])]
    return np.array([extent / sum(counts[start:start + extent]) for start in starts], "float32")


def _pooled(pool: Any, pixels: Any, place: Windows, padding: str) -> Any:
    if len(place.kernel) == 2:
        return pool(pixels, place.kernel, place.strides, padding)
    return tf.squeeze(pool(tf.expand_dims(pixels, 1), (1, *place.kernel), (1, *place.strides), padding), 1)


def _around(pixels: Any, place: Windows, positive: bool) -> Any:
    """Return pixels with a border that is never the largest of a window.

    Nothing below all numbers is put there where it can be helped: integer files would have to reach down to it. Where
    no number is below 0 that is 0, else the numbers at the edge, mirrored, which the window holds anyway.
    """
    pads = [(0, 0), *place.around, (0, 0)]
    if positive:
        return tf.pad(pixels, pads)
    held = all(2 * max(pair) <= extent and dilation == 1 and max(pair) <= size for pair, extent, dilation, size in zip(
        place.around, place.kernel, place.dilations, place.sizes, strict=True))
    return tf.pad(pixels, pads, "SYMMETRIC") if held else tf.pad(pixels, pads, constant_values=pixels.dtype.min)


def _largest(pixels: Any, place: Windows) -> Any:
    """Return the largest numbers of windows with gaps, of pixels with their border."""
    result = None
    steps = [range(0, extent * dilation, dilation) for extent, dilation in zip(place.kernel, place.dilations,
                                                                              strict=True)]
    for starts in itertools.product(*steps):
        cut = [slice(start, start + (count - 1) * stride + 1, stride) for start, count, stride in
               zip(starts, place.outputs, place.strides, strict=True)]
        one = pixels[(slice(None), *cut)]
        result = one if result is None else tf.maximum(result, one)
    return result
