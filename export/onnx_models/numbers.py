"""Constants, shapes, and the types of numbers."""
from __future__ import annotations

import math
from typing import Any

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value, check_size, integers

with epy.lazy_imports():
    import numpy as np
    import onnx
    import tensorflow as tf

#: Real numbers of other precisions, which are computed in float32.
REAL = ("float16", "float64", "bfloat16")


def array_of(tensor: Any) -> np.ndarray:
    """Return a tensor of a file as an array, real numbers in float32."""
    array = onnx.numpy_helper.to_array(tensor)
    return array.astype("float32") if array.dtype.name in REAL else array


def type_of(number: int) -> Any:
    """Return TensorFlow's type of ONNX's number for one, real numbers in float32. Raises ValueError."""
    try:
        name = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)).name
        return tf.float32 if name in REAL else tf.as_dtype(name)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"numbers of its type ({number}) are not read") from None


@operator("Constant")
def constant(node: Node) -> Value:
    for name in ("value_float", "value_floats", "value_int", "value_ints"):
        if name in node.attributes:
            return Value(np.array(node.get(name), "float32" if "float" in name else "int64"))
    if "value" not in node.attributes:
        raise ValueError("it holds no numbers")
    return Value(array_of(node.get("value")))


@operator("ConstantOfShape")
def constant_of_shape(node: Node, shape: Value) -> Value:
    fill = array_of(node.get("value")) if "value" in node.attributes else np.zeros(1, "float32")
    if shape.constant is None:
        return Value(tf.fill(tf.cast(shape.first, tf.int32), fill.ravel()[0]))
    asked = integers(shape, "shape")
    check_size(asked)
    return Value(np.full(asked, fill.ravel()[0]))


@operator("Shape")
def shape_of(node: Node, x: Value) -> Value:
    rank = len(x.shape)
    start, end = node.get("start", 0), node.get("end", rank)
    cut = slice(max(start + rank, 0) if start < 0 else start, max(end + rank, 0) if end < 0 else end)
    if None not in x.shape[cut]:
        return Value(np.array(x.shape[cut], "int64"))
    return Value(tf.shape(x.first, tf.int64)[cut])


@operator("Size")
def size_of(node: Node, x: Value) -> Value:
    if None not in x.shape:
        return Value(np.array(math.prod(size or 0 for size in x.shape)))
    return Value(tf.size(x.first, tf.int64))


@operator("Range")
def range_(node: Node, *ends: Value) -> Value:
    known = [end.constant for end in ends]
    if all(one is not None for one in known):
        start, limit, step = (float(np.ravel(one)[0]) for one in known)  # type: ignore[arg-type]
        check_size([abs(int((limit - start) / step)) if step else 0])
    return Value(tf.range(*(end.first for end in ends)))


@operator("Cast", "CastLike")
def cast(node: Node, x: Value, other: Value | None = None) -> Value:
    kind = type_of(node.get("to")) if other is None else tf.as_dtype(other.first.dtype)
    if kind == tf.string or tf.as_dtype(x.raw.dtype) == tf.string:
        raise ValueError("it makes text of numbers, or numbers of text")
    return x.like(tf.cast(x.raw, kind), x.positive)
