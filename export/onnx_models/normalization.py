"""Normalizations."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


@operator("BatchNormalization")
def batch_normalization(node: Node, x: Value, scale: Value, offset: Value, mean: Value, variance: Value) -> Value:
    if node.get("training_mode", 0) or len(node.outputs) > 1:
        raise ValueError("it is written for training; export the model for inference, in PyTorch after model.eval()")
    epsilon = np.float32(node.get("epsilon", 1e-5))
    factor = scale.first / tf.sqrt(variance.first + epsilon)
    shift = offset.first - mean.first * factor
    if scale.constant is not None and variance.constant is not None:
        # in double precision, as no model runs it
        exact = scale.constant.astype("float64") / np.sqrt(variance.constant.astype("float64") + epsilon)
        factor = exact.astype("float32")
        if offset.constant is not None and mean.constant is not None:
            shift = (offset.constant - mean.constant * exact).astype("float32")
    return Value(last=x.last * factor + shift) if len(x.shape) > 2 else Value(x.first * factor + shift)


@operator("InstanceNormalization")
def instance_normalization(node: Node, x: Value, scale: Value, offset: Value) -> Value:
    axes = list(range(1, len(x.shape) - 1))
    return Value(last=_normalized(x.last, axes, node.get("epsilon", 1e-5)) * scale.first + offset.first)


@operator("GroupNormalization")
def group_normalization(node: Node, x: Value, scale: Value, offset: Value) -> Value:
    groups, pixels = node.get("num_groups"), x.last
    channels = int(pixels.shape[-1])
    middle = [int(size) for size in pixels.shape[1:-1]]
    cut = tf.reshape(pixels, [-1, *middle, groups, channels // groups])
    axes = [*range(1, len(middle) + 1), len(middle) + 2]
    result = tf.reshape(_normalized(cut, axes, node.get("epsilon", 1e-5)), [-1, *middle, channels])
    factor, shift = scale.first, offset.first
    if factor.shape[0] != channels:  # up to version 20 one for each group
        factor, shift = (np.repeat(one, channels // groups) for one in (factor, shift))
    return Value(last=result * factor + shift)


@operator("LayerNormalization")
def layer_normalization(node: Node, x: Value, scale: Value, offset: Value | None = None) -> list[Value]:
    rank = len(x.shape)
    axes = list(range(node.get("axis", -1) % rank, rank))
    mean = tf.reduce_mean(x.first, axes, keepdims=True)
    centred = x.first - mean
    variance = tf.reduce_mean(centred * centred, axes, keepdims=True)
    share = tf.math.rsqrt(variance + np.float32(node.get("epsilon", 1e-5)))
    result = centred * share * scale.first
    return [Value(result if offset is None else result + offset.first), Value(mean), Value(share)]


@operator("RMSNormalization")
def rms_normalization(node: Node, x: Value, scale: Value) -> Value:
    rank = len(x.shape)
    axes = list(range(node.get("axis", -1) % rank, rank))
    square = tf.reduce_mean(x.first * x.first, axes, keepdims=True)
    return Value(x.first * tf.math.rsqrt(square + np.float32(node.get("epsilon", 1e-5))) * scale.first)


@operator("LpNormalization")
def lp_normalization(node: Node, x: Value) -> Value:
    axis = node.get("axis", -1)
    if node.get("p", 2) == 1:
        length = tf.reduce_sum(tf.abs(x.first), axis, keepdims=True)
    else:
        length = tf.sqrt(tf.reduce_sum(x.first * x.first, axis, keepdims=True))
    return Value(tf.math.divide_no_nan(x.first, length))


@operator("LRN")
def local_response_normalization(node: Node, x: Value) -> Value:
    size = node.get("size")
    if size % 2 == 0:
        raise ValueError(f"its size is {size}; odd ones are read")
    return Value(last=tf.nn.local_response_normalization(
        x.last, size // 2, node.get("bias", 1.0), node.get("alpha", 1e-4) / size, node.get("beta", 0.75)))


def _normalized(x: Any, axes: list[int], epsilon: float) -> Any:
    """Return x with a mean of 0 and a variance of 1 along axes."""
    centred = x - tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(centred * centred, axes, keepdims=True)
    return centred * tf.math.rsqrt(variance + np.float32(epsilon))
