"""Operators that move numbers to other places and change none."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value, check_size, integers, permuted, sizes, to_first

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


@operator("Identity", "Dropout")
def identity(node: Node, x: Value, *others: Value) -> list[Value]:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise ValueError("it gives which numbers it kept, which is not read; export the model for inference")
    return [x]


@operator("Reshape")
def reshape(node: Node, x: Value, shape: Value) -> Value:
    known = shape.constant
    if known is None:
        return Value(tf.reshape(x.first, tf.cast(shape.first, tf.int32)))
    asked = [int(size) for size in known]
    if not node.get("allowzero", 0):
        own: Any = tf.shape(x.first) if None in x.shape else x.shape
        copied = [position for position, size in enumerate(asked) if size == 0]
        if any(x.shape[position] is None for position in copied) and (-1 in asked or len(copied) > 1):
            return Value(tf.reshape(x.first, [own[position] if size == 0 else size
                                              for position, size in enumerate(asked)]))
        asked = [(-1 if x.shape[position] is None else own[position]) if size == 0 else size
                 for position, size in enumerate(asked)]
    return Value(tf.reshape(x.first, asked))


@operator("Flatten")
def flatten(node: Node, x: Value) -> Value:
    rank = len(x.shape)
    axis = node.get("axis", 1)
    axis = axis + rank if axis < 0 else axis
    before, after = (_product(x.shape[:axis]), _product(x.shape[axis:]))
    if before == after == -1:
        raise ValueError("more than one size of what it takes is not known")
    return Value(tf.reshape(x.first, [before, after]))


def _product(shape: Sequence[int | None]) -> int:
    return -1 if None in shape else int(np.prod([size for size in shape if size is not None], dtype="int64"))


@operator("Transpose")
def transpose(node: Node, x: Value) -> Value:
    rank = len(x.shape)
    order = list(node.get("perm", range(rank - 1, -1, -1)))
    if not x.is_last and rank > 2 and order == list(to_first(rank)):
        return Value(last=x.first, positive=x.positive)  # the channels were last all along
    return Value(permuted(x.raw, x.stored(order)), positive=x.positive)


@operator("Squeeze")
def squeeze(node: Node, x: Value, axes: Value | None = None) -> Value:
    along = integers(axes, "list of axes") if axes is not None else node.get("axes")
    if along is None:
        along = [axis for axis, size in enumerate(x.shape) if size == 1]
    gone = {axis % len(x.shape) for axis in along}
    return Value(_as(x, [size for axis, size in enumerate(x.shape) if axis not in gone],
                     lambda array: tf.squeeze(array, list(along))), positive=x.positive)


def _as(x: Value, shape: Sequence[int | None], otherwise: Callable[[Any], Any]) -> Any:
    """Return an array in another shape, as a reshape where that is known, which the converter takes between all
    others."""
    known = list(shape)
    return otherwise(x.first) if known.count(None) > 1 else tf.reshape(
        x.first, [-1 if size is None else size for size in known])


@operator("Unsqueeze")
def unsqueeze(node: Node, x: Value, axes: Value | None = None) -> Value:
    along = integers(axes, "list of axes") if axes is not None else list(node.get("axes"))
    rank, shape = len(x.shape) + len(along), list(x.shape)
    places = sorted(axis % rank for axis in along)
    for axis in places:
        shape.insert(axis, 1)

    def widened(array: Any) -> Any:
        for axis in places:
            array = tf.expand_dims(array, axis)
        return array

    return Value(_as(x, shape, widened), positive=x.positive)


@operator("Concat")
def concat(node: Node, *values: Value) -> Value:
    positive = all(value.positive for value in values)
    if any(value.is_last for value in values):
        (axis,) = Value(last=values[0].last).stored([node.get("axis")])
        return Value(last=tf.concat([value.last for value in values], axis), positive=positive)
    return Value(tf.concat([value.first for value in values], node.get("axis")), positive=positive)


@operator("Split")
def split(node: Node, x: Value, parts: Value | None = None) -> list[Value]:
    (axis,) = x.stored([node.get("axis", 0)])
    size = sizes(x.raw)[axis]
    if parts is not None or node.get("split") is not None:
        lengths = integers(parts, "list of lengths") if parts is not None else list(node.get("split"))
    else:
        count = node.get("num_outputs", len(node.outputs))
        if size is None:
            raise ValueError("the size of what it splits is not known")
        each = -(-size // count)
        lengths = [min(each, size - number * each) for number in range(count)]
    return [x.like(one, x.positive) for one in tf.split(x.raw, lengths, axis)]


@operator("Slice")
def slice_(node: Node, x: Value, starts: Value | None = None, ends: Value | None = None, axes: Value | None = None,
           steps: Value | None = None) -> Value:
    if starts is None:  # up to version 9
        first, stop, every = list(node.get("starts")), list(node.get("ends")), [1] * len(node.get("starts"))
        along = list(node.get("axes", range(len(first))))
    else:
        first, stop = integers(starts, "list of starts"), integers(ends, "list of ends")
        along = integers(axes, "list of axes") if axes is not None else list(range(len(first)))
        every = integers(steps, "list of steps") if steps is not None else [1] * len(first)
    cut: list[Any] = [slice(None)] * len(x.shape)
    for axis, start, end, step in zip(x.stored(along), first, stop, every, strict=True):
        size = sizes(x.raw)[axis]
        if size is not None:
            start = max(start + size, -1 if step < 0 else 0) if start < 0 else min(start, size)
            end = max(end + size, -1) if end < 0 else min(end, size)
            cut[axis] = slice(min(start, size - 1) if step < 0 else start, None if end == -1 else end, step)
        else:
            cut[axis] = slice(start, None if end >= 2 ** 31 - 1 else end, step)
    return x.like(tf.convert_to_tensor(x.raw)[tuple(cut)], x.positive)


@operator("Expand")
def expand(node: Node, x: Value, shape: Value) -> Value:
    known = shape.constant
    if known is not None and None not in x.shape:
        target = np.broadcast_shapes(tuple(int(size) for size in known), x.shape)  # type: ignore[arg-type]
        check_size(target)
        return x if target == x.shape else Value(tf.broadcast_to(x.first, target))
    return Value(tf.broadcast_to(x.first, tf.broadcast_dynamic_shape(
        tf.cast(shape.first, tf.int32), tf.shape(x.first))))


@operator("Tile")
def tile(node: Node, x: Value, repeats: Value) -> Value:
    times = integers(repeats, "list of repeats")
    check_size([(size or 1) * count for size, count in zip(x.shape, times, strict=True)])
    return Value(tf.tile(x.first, times))


@operator("Pad")
def pad(node: Node, x: Value, pads: Value | None = None, value: Value | None = None,
        axes: Value | None = None) -> Value:
    listed = integers(pads, "list of pads") if pads is not None else list(node.get("pads", node.get("paddings")))
    rank = len(x.shape)
    along = [axis % rank for axis in integers(axes, "list of axes")] if axes is not None else list(range(rank))
    around = [(0, 0)] * rank
    for position, axis in enumerate(x.stored(along)):
        around[axis] = (listed[position], listed[position + len(along)])
    check_size([(size or 1) + sum(pair) for size, pair in zip(sizes(x.raw), around, strict=True)])
    fill = node.get("value", 0) if value is None else tf.reshape(value.first, [])
    mode, array = node.get("mode", "constant"), x.raw
    if min(min(pair) for pair in around) < 0:
        array = tf.convert_to_tensor(array)[tuple(
            slice(max(0, -before), None if after >= 0 else after) for before, after in around)]
        around = [(max(0, before), max(0, after)) for before, after in around]
    if mode == "constant":
        return x.like(tf.pad(array, around, constant_values=tf.cast(fill, array.dtype)))
    if mode == "reflect":
        return x.like(tf.pad(array, around, "REFLECT"))
    return x.like(_repeated(array, around, mode))


def _repeated(array: Any, around: Sequence[tuple[int, int]], mode: str) -> Any:
    """Return an array with its edges, or itself from the other side, around it."""
    for axis, (before, after) in enumerate(around):
        if before or after:
            positions = np.arange(-before, int(array.shape[axis]) + after)
            size = int(array.shape[axis])
            positions = positions % size if mode == "wrap" else np.clip(positions, 0, size - 1)
            array = tf.gather(array, positions, axis=axis)
    return array


@operator("DepthToSpace")
def depth_to_space(node: Node, x: Value) -> Value:
    block, pixels = node.get("blocksize"), x.last
    if node.get("mode", "DCR") == "CRD":  # the channels change places, so that TensorFlow's order gives it
        channels = int(pixels.shape[-1]) // block ** 2
        order = np.arange(channels * block ** 2).reshape(channels, block ** 2).T.ravel()
        pixels = tf.gather(pixels, order, axis=-1)
    return Value(last=tf.nn.depth_to_space(pixels, block), positive=x.positive)


@operator("SpaceToDepth")
def space_to_depth(node: Node, x: Value) -> Value:
    block = node.get("blocksize")
    pixels = tf.nn.space_to_depth(x.last, block)
    if node.get("mode", "DCR") == "CRD":
        channels = int(pixels.shape[-1]) // block ** 2
        pixels = tf.gather(pixels, np.arange(channels * block ** 2).reshape(block ** 2, channels).T.ravel(), axis=-1)
    return Value(last=pixels, positive=x.positive)


@operator("Gather")
def gather(node: Node, x: Value, index: Value) -> Value:
    axis = node.get("axis", 0) % len(x.shape)
    size, known = x.shape[axis], index.constant
    positions = index.first
    if known is not None and size is not None:
        positions = np.where(known < 0, known + size, known)
        if known.ndim == 0:
            cut: list[Any] = [slice(None)] * len(x.shape)
            cut[axis] = int(positions)
            return Value(tf.convert_to_tensor(x.first)[tuple(cut)])
    return Value(tf.gather(x.first, positions, axis=axis))


@operator("GatherElements")
def gather_elements(node: Node, x: Value, index: Value) -> Value:
    rank = len(x.shape)
    axis = node.get("axis", 0) % rank
    order = [*(one for one in range(rank) if one != axis), axis]
    moved, positions = (tf.transpose(one.first, order) for one in (x, index))
    size = int(x.shape[axis] or 0)
    positions = tf.where(positions < 0, positions + size, positions)
    cut = moved[tuple(slice(0, length) for length in positions.shape[:-1])]
    result = tf.gather(cut, positions, batch_dims=rank - 1)
    return Value(tf.transpose(result, [order.index(one) for one in range(rank)]))


@operator("GatherND")
def gather_nd(node: Node, x: Value, index: Value) -> Value:
    return Value(tf.gather_nd(x.first, index.first, node.get("batch_dims", 0)))


@operator("ScatterND")
def scatter_nd(node: Node, x: Value, index: Value, updates: Value) -> Value:
    functions = {"none": tf.tensor_scatter_nd_update, "add": tf.tensor_scatter_nd_add,
                 "max": tf.tensor_scatter_nd_max, "min": tf.tensor_scatter_nd_min}
    kind = node.get("reduction", "none")
    if kind not in functions:
        raise ValueError(f"its reduction is {kind}; {', '.join(functions)} are read")
    return Value(functions[kind](x.first, index.first, updates.first))


@operator("Trilu")
def triangle(node: Node, x: Value, k: Value | None = None) -> Value:
    (shift,) = integers(k, "number k") if k is not None else [0]
    rows, columns = (int(size or 0) for size in x.shape[-2:])
    kept = np.tri(rows, columns, shift, dtype=bool) if not node.get("upper", 1) else ~np.tri(
        rows, columns, shift - 1, dtype=bool)
    return Value(tf.where(kept, x.first, tf.zeros_like(x.first)))
