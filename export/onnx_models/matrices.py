"""Products of matrices."""
from __future__ import annotations

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


@operator("MatMul")
def matmul(node: Node, a: Value, b: Value) -> Value:
    left, right = a.first, b.first
    if len(a.shape) > 1 and len(b.shape) > 1:
        return Value(tf.matmul(left, right))
    if len(a.shape) == 1:
        left = tf.expand_dims(left, 0)
    if len(b.shape) == 1:
        right = tf.expand_dims(right, 1)
    result = tf.matmul(left, right)
    gone = [axis for axis, value in ((-2, a), (-1, b)) if len(value.shape) == 1]
    return Value(tf.squeeze(result, gone))


@operator("Gemm")
def gemm(node: Node, a: Value, b: Value, c: Value | None = None) -> Value:
    alpha, beta = np.float32(node.get("alpha", 1.0)), np.float32(node.get("beta", 1.0))
    right, is_turned = b.first, bool(node.get("transB", 0))
    if isinstance(right, np.ndarray) and is_turned:
        right, is_turned = np.ascontiguousarray(right.T), False
    result = tf.matmul(a.first, right, transpose_a=bool(node.get("transA", 0)), transpose_b=is_turned)
    result = result if alpha == 1 else result * alpha
    if c is None or beta == 0:
        return Value(result)
    return Value(result + (c.first if beta == 1 else c.first * beta))


@operator("Einsum")
def einsum(node: Node, *values: Value) -> Value:
    return Value(tf.einsum(node.get("equation").replace(" ", ""), *(value.first for value in values)))
