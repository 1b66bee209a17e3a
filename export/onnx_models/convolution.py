"""Convolutions along one and two axes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value, permuted, reshaped
from export.onnx_models.windows import pads_of, same_pads, windows

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


@operator("Conv")
def conv(node: Node, x: Value, kernel: Value, bias: Value | None = None) -> Value:
    place = windows(node, x, [int(size or 0) for size in kernel.shape[2:]])
    is_row = len(place.kernel) == 1
    weights = permuted(kernel.first, (2, 1, 0) if is_row else (2, 3, 1, 0))  # (height, width, in, out)
    pixels, pads = x.last, list(place.pads)
    strides, dilations = list(place.strides), list(place.dilations)
    if is_row:
        pixels, weights, pads = tf.expand_dims(pixels, 1), weights[None], [(0, 0), *pads]
        strides, dilations = [1, *strides], [1, *dilations]
    padding = "VALID" if place.valid else "SAME" if place.same else "AROUND"
    if padding == "AROUND":
        pixels, padding = tf.pad(pixels, [(0, 0), *pads, (0, 0)]), "VALID"
    result = _convolved(pixels, weights, node.get("group", 1), strides, dilations, padding)
    if is_row:
        result = tf.squeeze(result, 1)
    return Value(last=result if bias is None else tf.nn.bias_add(result, bias.first))


def _convolved(pixels: Any, weights: Any, groups: int, strides: Sequence[int], dilations: Sequence[int],
               padding: str) -> Any:
    """Return a convolution of pixels channels last.

    Args:
        weights: (height, width, in, out).
    """
    height, width, inner, outer = weights.shape
    if groups == 1 or inner != 1:
        return tf.nn.conv2d(pixels, weights, strides, padding, dilations=dilations)
    weights = reshaped(weights, (height, width, groups, outer // groups))
    if max(strides) == 1 or (strides[0] == strides[1] and max(dilations) == 1):
        return tf.nn.depthwise_conv2d(pixels, weights, [1, *strides, 1], padding, dilations=dilations)
    if padding == "SAME":
        extents = [dilation * (int(size) - 1) + 1 for size, dilation in zip((height, width), dilations, strict=True)]
        pads = [same_pads(*one) for one in zip(pixels.shape[1:3], extents, strides, strict=True)]
        pixels = tf.pad(pixels, [(0, 0), *pads, (0, 0)])
    every = tf.nn.depthwise_conv2d(pixels, weights, [1, 1, 1, 1], "VALID", dilations=dilations)
    return every[:, ::strides[0], ::strides[1]]


@operator("ConvTranspose")
def conv_transpose(node: Node, x: Value, kernel: Value, bias: Value | None = None) -> Value:
    axes = len(x.shape) - 2
    if axes not in (1, 2) or None in x.shape[2:]:
        raise ValueError(f"it goes along {axes} axes of {x.shape[2:]}; 1 and 2 of known sizes are read")
    sizes = [int(size or 0) for size in x.shape[2:]]
    strides = list(node.get("strides", [1] * axes))
    weights = permuted(kernel.first, (2, 1, 0) if axes == 1 else (2, 3, 1, 0))  # (height, width, out, in)
    weights = _spread(weights, node.get("dilations", [1] * axes))
    extents, beyond = [int(size) for size in weights.shape[:axes]], list(node.get("output_padding", [0] * axes))
    whole = [(size - 1) * stride + extent + more for size, stride, extent, more in
             zip(sizes, strides, extents, beyond, strict=True)]
    pads, outputs = _pads_and_outputs(node, sizes, strides, extents, whole)
    whole = [max(pair) for pair in zip(whole, outputs, strict=True)]
    pixels = x.last
    if axes == 1:
        pixels, weights, sizes, strides = tf.expand_dims(pixels, 1), weights[None], [1, *sizes], [1, *strides]
        pads, outputs, whole, extents = [(0, 0), *pads], [1, *outputs], [1, *whole], [1, *extents]
    is_same = [same_pads(*one) for one in zip(outputs, extents, strides, strict=True)] == pads and [
        -(-out // stride) for out, stride in zip(outputs, strides, strict=True)] == sizes
    parts = []
    groups = node.get("group", 1)
    for one, own in zip(tf.split(pixels, groups, -1), np.split(weights, groups, -1) if isinstance(
            weights, np.ndarray) else tf.split(weights, groups, -1), strict=True):
        shape = [tf.shape(one)[0] if one.shape[0] is None else one.shape[0], *(outputs if is_same else whole),
                 weights.shape[2]]
        parts.append(tf.nn.conv2d_transpose(one, own, shape, strides, "SAME" if is_same else "VALID"))
    result = tf.concat(parts, -1) if groups > 1 else parts[0]
    if not is_same:
        (top, _), (left, _) = pads
        result = result[:, top:top + outputs[0], left:left + outputs[1]]
    if axes == 1:
        result = tf.squeeze(result, 1)
    return Value(last=result if bias is None else tf.nn.bias_add(result, bias.first))


def _spread(weights: Any, dilations: Sequence[int]) -> Any:
    """Return a kernel with zeros between its numbers, along its first axes."""
    if max(dilations) == 1:
        return weights
    for axis, dilation in enumerate(dilations):
        size = int(weights.shape[axis])
        index = np.full(dilation * (size - 1) + 1, size)
        index[::dilation] = range(size)
        empty = tf.zeros([1 if place == axis else own for place, own in enumerate(weights.shape)])
        weights = tf.gather(tf.concat([weights, empty], axis), index, axis=axis)
    return weights


def _pads_and_outputs(node: Node, sizes: Sequence[int], strides: Sequence[int], extents: Sequence[int],
                      whole: Sequence[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Return what is cut off before and after each axis, and what is left.

    Args:
        whole: how large the axes are before anything is cut off.
    """
    kind, asked = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if kind.startswith("SAME") and asked is None:
        asked = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    if asked is None:
        pads = pads_of(node, sizes, extents, strides)
        return pads, [size - sum(cut) for size, cut in zip(whole, pads, strict=True)]
    asked = list(asked)[-len(sizes):]
    totals = [max(0, size - out) for size, out in zip(whole, asked, strict=True)]
    halves = [total // 2 if kind == "SAME_UPPER" else total - total // 2 for total in totals]
    return [(half, total - half) for half, total in zip(halves, totals, strict=True)], asked
