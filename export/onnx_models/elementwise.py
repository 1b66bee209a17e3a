"""Operators that take numbers one by one: arithmetic, comparisons, activations."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value, aligned

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Of one tensor, without settings.
UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": lambda x: tf.abs(x), "Acos": lambda x: tf.acos(x), "Asin": lambda x: tf.asin(x),
    "Atan": lambda x: tf.atan(x), "Ceil": lambda x: tf.math.ceil(x), "Cos": lambda x: tf.cos(x),
    "Erf": lambda x: erf(x), "Exp": lambda x: tf.exp(x), "Floor": lambda x: tf.floor(x),
    "IsNaN": lambda x: tf.math.is_nan(x), "Log": lambda x: tf.math.log(x),
    "Mish": lambda x: x * tf.tanh(tf.math.softplus(x)), "Neg": lambda x: -x, "Not": lambda x: tf.logical_not(x),
    "Reciprocal": lambda x: 1.0 / x, "Relu": lambda x: tf.nn.relu(x), "Round": lambda x: tf.round(x),
    "Sigmoid": lambda x: tf.sigmoid(x), "Sign": lambda x: tf.sign(x), "Sin": lambda x: tf.sin(x),
    "Softplus": lambda x: tf.math.softplus(x), "Softsign": lambda x: tf.nn.softsign(x), "Sqrt": lambda x: tf.sqrt(x),
    "Tan": lambda x: tf.tan(x), "Tanh": lambda x: tf.tanh(x)}
#: Of those, what gives no number below 0.
POSITIVE = ("Abs", "Exp", "Relu", "Sigmoid", "Softplus", "Sqrt")
#: Of two tensors.
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b, "And": lambda a, b: tf.logical_and(a, b), "Div": lambda a, b: quotient(a, b),
    "Equal": lambda a, b: tf.equal(a, b), "Greater": lambda a, b: tf.greater(a, b),
    "GreaterOrEqual": lambda a, b: tf.greater_equal(a, b), "Less": lambda a, b: tf.less(a, b),
    "LessOrEqual": lambda a, b: tf.less_equal(a, b), "Mul": lambda a, b: a * b,
    "Or": lambda a, b: tf.logical_or(a, b), "Sub": lambda a, b: a - b, "Xor": lambda a, b: tf.math.logical_xor(a, b)}
#: Of any number of tensors, two and two.
SEVERAL: dict[str, Callable[[Any, Any], Any]] = {
    "Max": lambda a, b: tf.maximum(a, b), "Min": lambda a, b: tf.minimum(a, b), "Sum": lambda a, b: a + b,
    "Mean": lambda a, b: a + b}
#: erf(x) = x P(x²) / Q(x²) for |x| <= 4, to float32's precision: Eigen's coefficients, from the highest power down.
ERF_ABOVE = (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
             -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
ERF_BELOW = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
             -1.42647390514189e-02)


def quotient(a: Any, b: Any) -> Any:
    """Return a / b, of whole numbers without what is after the point."""
    return a / b if tf.as_dtype(a.dtype).is_floating else tf.truncatediv(a, b)


def erf(x: Any) -> Any:
    """Return the error function, of operators that files for phones have; TFLite has none of its own."""
    x = tf.clip_by_value(x, -4.0, 4.0)
    square = x * x
    above, below = tf.zeros_like(x), tf.zeros_like(x)
    for factor in ERF_ABOVE:
        above = above * square + factor
    for factor in ERF_BELOW:
        below = below * square + factor
    return x * above / below


@operator(*UNARY)
def unary(node: Node, x: Value) -> Value:
    return x.like(UNARY[node.kind](x.raw), positive=node.kind in POSITIVE)


@operator(*BINARY)
def binary(node: Node, *values: Value) -> Value:
    (a, b), turned = aligned(values)
    result = BINARY[node.kind](tf.convert_to_tensor(a), tf.convert_to_tensor(b))
    return Value(last=result) if turned else Value(result)


@operator(*SEVERAL)
def several(node: Node, *values: Value) -> Value:
    arrays, turned = aligned(values)
    result = tf.convert_to_tensor(arrays[0])
    for array in arrays[1:]:
        result = SEVERAL[node.kind](result, array)
    result = result / len(arrays) if node.kind == "Mean" else result
    return Value(last=result) if turned else Value(result)


@operator("Mod")
def mod(node: Node, *values: Value) -> Value:
    (a, b), turned = aligned(values)
    result = tf.truncatemod(a, b) if node.get("fmod", 0) else tf.math.floormod(a, b)
    return Value(last=result) if turned else Value(result)


@operator("Pow")
def power(node: Node, x: Value, exponent: Value) -> Value:
    constant = exponent.constant
    if constant is not None and constant.size == 1 and float(constant.ravel()[0]) in (0.5, 2.0):
        return x.like(tf.sqrt(x.raw) if float(constant.ravel()[0]) == 0.5 else x.raw * x.raw, positive=True)
    (base, above), turned = aligned([x, exponent])
    base = tf.convert_to_tensor(base)
    above = tf.convert_to_tensor(above)
    if base.dtype == above.dtype:
        result = tf.pow(base, above)
    else:
        result = tf.cast(tf.pow(tf.cast(base, tf.float32), tf.cast(above, tf.float32)), base.dtype)
    return Value(last=result) if turned else Value(result)


@operator("Where")
def where(node: Node, *values: Value) -> Value:
    (condition, yes, no), turned = aligned(values)
    result = tf.where(condition, yes, no)
    return Value(last=result) if turned else Value(result)


@operator("Clip")
def clip(node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    ends = [end.first if end is not None else node.get(name) for end, name in ((low, "min"), (high, "max"))]
    known = [float(end) if isinstance(end, (float, np.ndarray)) else None for end in ends]
    is_float = tf.as_dtype(x.raw.dtype).is_floating
    if is_float and known[0] == 0.0 and (ends[1] is None or known[1] == 6.0):
        return x.like(tf.nn.relu(x.raw) if known[1] is None else tf.nn.relu6(x.raw), positive=True)
    result = x.raw
    if ends[0] is not None:
        result = tf.maximum(result, tf.cast(ends[0], result.dtype))
    if ends[1] is not None:
        result = tf.minimum(result, tf.cast(ends[1], result.dtype))
    return x.like(tf.identity(result), positive=known[0] is not None and known[0] >= 0)


@operator("LeakyRelu")
def leaky_relu(node: Node, x: Value) -> Value:
    return x.like(tf.nn.leaky_relu(x.raw, node.get("alpha", 0.01)))


@operator("PRelu")
def prelu(node: Node, *values: Value) -> Value:
    (x, slope), turned = aligned(values)
    result = tf.nn.relu(x) + slope * tf.minimum(x, 0.0)
    return Value(last=result) if turned else Value(result)


@operator("Elu", "Celu")
def elu(node: Node, x: Value) -> Value:
    alpha = node.get("alpha", 1.0)
    if node.kind == "Celu":
        return x.like(tf.nn.relu(x.raw) + alpha * tf.minimum(tf.nn.elu(x.raw / alpha), 0.0))
    return x.like(tf.nn.elu(x.raw) if alpha == 1.0 else tf.nn.relu(x.raw) + alpha * tf.minimum(tf.nn.elu(x.raw), 0.0))


@operator("Selu")
def selu(node: Node, x: Value) -> Value:
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875)
    return x.like(gamma * (tf.nn.relu(x.raw) + alpha * tf.minimum(tf.nn.elu(x.raw), 0.0)))


@operator("HardSigmoid")
def hard_sigmoid(node: Node, x: Value) -> Value:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
        return x.like(tf.nn.relu6(x.raw + 3.0) * (1 / 6), positive=True)
    return x.like(tf.clip_by_value(alpha * x.raw + beta, 0.0, 1.0), positive=True)


@operator("HardSwish")
def hard_swish(node: Node, x: Value) -> Value:
    return x.like(x.raw * (tf.nn.relu6(x.raw + 3.0) * (1 / 6)))


@operator("Swish")
def swish(node: Node, x: Value) -> Value:
    return x.like(x.raw * tf.sigmoid(node.get("alpha", 1.0) * x.raw))


@operator("Gelu")
def gelu(node: Node, x: Value) -> Value:
    return x.like(tf.nn.gelu(x.raw, approximate=node.get("approximate", "none") == "tanh"))


@operator("ThresholdedRelu")
def thresholded_relu(node: Node, x: Value) -> Value:
    return x.like(tf.where(x.raw > node.get("alpha", 1.0), x.raw, tf.zeros_like(x.raw)))


@operator("Softmax", "LogSoftmax")
def softmax(node: Node, x: Value) -> Value:
    function = tf.nn.softmax if node.kind == "Softmax" else tf.nn.log_softmax
    rank = len(x.shape)
    if node.opset >= 13 or node.get("axis", 1) % rank == rank - 1:
        (axis,) = x.stored([node.get("axis", -1 if node.opset >= 13 else 1)])
        return x.like(function(x.raw, axis=axis), positive=node.kind == "Softmax")
    axis = node.get("axis", 1) % rank  # up to version 12 over all axes from this one on
    flat = tf.reshape(x.first, [math.prod(size or -1 for size in x.shape[:axis]), -1])
    return Value(tf.reshape(function(flat), tf.shape(x.first)), positive=node.kind == "Softmax")
