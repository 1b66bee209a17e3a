"""Reductions, and where the largest numbers are."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value, integers

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": lambda x, axes, keep: tf.reduce_sum(x, axes, keep),
    "ReduceMean": lambda x, axes, keep: tf.reduce_mean(x, axes, keep),
    "ReduceMax": lambda x, axes, keep: _largest(x, axes, keep),
    "ReduceMin": lambda x, axes, keep: _smallest(x, axes, keep),
    "ReduceProd": lambda x, axes, keep: tf.reduce_prod(x, axes, keep),
    "ReduceL1": lambda x, axes, keep: tf.reduce_sum(tf.abs(x), axes, keep),
    "ReduceL2": lambda x, axes, keep: tf.sqrt(tf.reduce_sum(x * x, axes, keep)),
    "ReduceSumSquare": lambda x, axes, keep: tf.reduce_sum(x * x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: tf.math.log(tf.reduce_sum(x, axes, keep)),
    "ReduceLogSumExp": lambda x, axes, keep: tf.reduce_logsumexp(x, axes, keep)}


def _largest(x: Any, axes: Any, keep: bool) -> Any:
    return tf.reduce_any(x, axes, keep) if tf.as_dtype(x.dtype).is_bool else tf.reduce_max(x, axes, keep)


def _smallest(x: Any, axes: Any, keep: bool) -> Any:
    return tf.reduce_all(x, axes, keep) if tf.as_dtype(x.dtype).is_bool else tf.reduce_min(x, axes, keep)


@operator(*REDUCTIONS)
def reduction(node: Node, x: Value, axes: Value | None = None) -> Value:
    along = integers(axes, "list of axes") if axes is not None else list(node.get("axes", []))
    rank, keep = len(x.shape), bool(node.get("keepdims", 1))
    if not along and node.get("noop_with_empty_axes", 0):
        return _as_it_is(node, x)
    reduced = {axis % rank for axis in along} if along else set(range(rank))
    function = REDUCTIONS[node.kind]
    # what is left keeps its order where the channels go, or nothing else stays behind them
    if x.is_last and (keep or 1 in reduced or reduced >= set(range(2, rank))):
        result = function(x.last, x.stored(sorted(reduced)), keep)
        return Value(last=result) if keep else Value(result)
    return Value(function(x.first, sorted(reduced), keep))


def _as_it_is(node: Node, x: Value) -> Value:
    """Return what a reduction along no axis makes of each number."""
    return x.like(REDUCTIONS[node.kind](tf.expand_dims(x.raw, -1), [-1], False))


@operator("ArgMax", "ArgMin")
def arg(node: Node, x: Value) -> Value:
    function = tf.argmax if node.kind == "ArgMax" else tf.argmin
    axis = node.get("axis", 0) % len(x.shape)
    array = x.first
    if node.get("select_last_index", 0):
        size = int(array.shape[axis])
        index = size - 1 - function(tf.reverse(array, [axis]), axis)
    else:
        index = function(array, axis)
    return Value(tf.expand_dims(index, axis) if node.get("keepdims", 1) else index)


@operator("TopK")
def top_k(node: Node, x: Value, k: Value | None = None) -> list[Value]:
    (count,) = integers(k, "number k") if k is not None else [node.get("k")]
    rank = len(x.shape)
    axis = node.get("axis", -1) % rank
    order = [*(one for one in range(rank) if one != axis), axis]
    back = [order.index(one) for one in range(rank)]
    moved = tf.transpose(x.first, order) if axis != rank - 1 else tf.convert_to_tensor(x.first)
    values, index = tf.math.top_k(moved if node.get("largest", 1) else -moved, count)
    values = values if node.get("largest", 1) else -values
    index = tf.cast(index, tf.int64)
    return [Value(tf.transpose(one, back) if axis != rank - 1 else one) for one in (values, index)]


@operator("CumSum")
def cumulative_sum(node: Node, x: Value, axis: Value) -> Value:
    (along,) = integers(axis, "axis")
    return Value(tf.cumsum(x.first, along, bool(node.get("exclusive", 0)), bool(node.get("reverse", 0))))


@operator("OneHot")
def one_hot(node: Node, index: Value, depth: Value, values: Value) -> Value:
    (size,) = integers(depth, "depth")
    off, on = np.ravel(values.first) if values.constant is not None else (values.first[0], values.first[1])
    axis = node.get("axis", -1) % (len(index.shape) + 1)
    positions = tf.cast(index.first, tf.int64)
    return Value(tf.one_hot(tf.where(positions < 0, positions + size, positions), size, on, off, axis))
