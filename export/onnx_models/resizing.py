"""Resizing along any axes: as one of TensorFlow's kernels where it computes the same, else axis by axis."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

from export.onnx_models.registry import Node, operator
from export.onnx_models.values import Value, check_size, sizes

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


@operator("Resize", "Upsample")
def resize(node: Node, x: Value, *more: Value | None) -> Value:
    if None in x.shape[2:]:
        raise ValueError("the size of what it resizes is not known")
    if node.get("antialias", 0) or node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("it has antialias or keep_aspect_ratio_policy, which are not read")
    outputs, scales = _outputs(node, x, more)
    check_size([size for size in outputs if size is not None])
    axes = [axis for axis, size in enumerate(x.shape) if outputs[axis] is not None
            and (outputs[axis] != size or scales[axis] != 1.0)]
    kernel = _kernel(node, x, axes, outputs, scales)
    if kernel is not None:
        return Value(last=kernel, positive=x.positive and node.get("mode", "nearest") != "cubic")
    result = x.raw
    for axis, place in zip(axes, x.stored(axes), strict=True):
        size, output = int(x.shape[axis] or 0), int(outputs[axis] or 0)
        if node.get("mode", "nearest") == "nearest":
            result = tf.gather(result, _nearest(node, size, output, scales[axis]), axis=place)
        else:
            result = _multiplied(result, _matrix(node, size, output, scales[axis]), place)
    return x.like(tf.identity(result))


def _outputs(node: Node, x: Value, more: Sequence[Value | None]) -> tuple[list[int | None], list[float]]:
    """Return the size of the result along each axis, None where it stays as it is and is not known, and by what it
    grows."""
    rank = len(x.shape)
    axes = [axis % rank for axis in node.get("axes", range(rank))]
    scales, targets = node.get("scales"), None
    values = [None if one is None else one.constant for one in more]
    if any(one is not None and one.constant is None for one in more):
        raise ValueError("its sizes depend on what the model is given; only constant ones can be read")
    if len(values) == 1:
        scales = values[0]
    elif len(values) > 1:
        scales = values[1] if values[1] is not None and values[1].size else None
        targets = values[2] if len(values) > 2 and values[2] is not None and values[2].size else None
    outputs: list[int | None] = list(x.shape)
    factors = [1.0] * rank
    for position, axis in enumerate(axes):
        size = x.shape[axis]
        if targets is not None and size is not None:
            outputs[axis] = int(targets[position])
            factors[axis] = int(targets[position]) / size
        elif targets is None and scales is not None:
            factors[axis] = float(scales[position])
            if size is None and factors[axis] != 1.0:
                raise ValueError("it resizes along the batch")
            outputs[axis] = None if size is None else int(size * factors[axis])
    return outputs, factors


def _coordinates(node: Node, size: int, output: int, scale: float) -> np.ndarray:
    """Return where in the input each place of the output lies."""
    places = np.arange(output, dtype="float64")
    mode = node.get("coordinate_transformation_mode", "asymmetric" if node.opset < 11 else "half_pixel")
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and output > 1):
        return (places + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return np.zeros(output)
    if mode == "align_corners":
        return places * (size - 1) / (output - 1) if output > 1 else np.zeros(output)
    if mode == "asymmetric":
        return places / scale
    if mode == "half_pixel_symmetric":
        return size / 2 * (1 - output / (scale * size)) + (places + 0.5) / scale - 0.5
    raise ValueError(f"its coordinate_transformation_mode is {mode}, which is not read")


def _nearest(node: Node, size: int, output: int, scale: float) -> np.ndarray:
    """Return the position in the input that each place of the output is taken from."""
    at = _coordinates(node, size, output, scale)
    rounding = node.get("nearest_mode", "floor" if node.opset < 11 else "round_prefer_floor")
    rounded = {"round_prefer_floor": np.ceil(at - 0.5), "round_prefer_ceil": np.floor(at + 0.5), "floor": np.floor(at),
               "ceil": np.ceil(at)}[rounding]
    return np.clip(rounded, 0, size - 1).astype("int32")


def _matrix(node: Node, size: int, output: int, scale: float) -> np.ndarray:
    """Return by what the numbers along an axis count in each place of the output, (output, size)."""
    at = _coordinates(node, size, output, scale)
    matrix = np.zeros((output, size))
    if node.get("mode") == "linear":
        at = np.clip(at, 0, size - 1)
        low = np.minimum(np.floor(at).astype(int), max(size - 2, 0))
        np.add.at(matrix, (np.arange(output), low), 1 - (at - low))
        np.add.at(matrix, (np.arange(output), np.minimum(low + 1, size - 1)), at - low)
        return matrix.astype("float32")
    factor = node.get("cubic_coeff_a", -0.75)
    low = np.floor(at).astype(int)
    for step in (-1, 0, 1, 2):
        distance = np.abs(at - (low + step))
        near = (factor + 2) * distance ** 3 - (factor + 3) * distance ** 2 + 1
        far = factor * (distance ** 3 - 5 * distance ** 2 + 8 * distance - 4)
        share = np.where(distance <= 1, near, far)
        if node.get("exclude_outside", 0):
            share = np.where((low + step < 0) | (low + step >= size), 0, share)
        np.add.at(matrix, (np.arange(output), np.clip(low + step, 0, size - 1)), share)
    if node.get("exclude_outside", 0):
        matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix.astype("float32")


def _multiplied(array: Any, matrix: np.ndarray, axis: int) -> Any:
    rank = len(sizes(array))
    result = tf.tensordot(array, matrix.T, [[axis], [0]])
    order = [*range(axis), rank - 1, *range(axis, rank - 1)]
    return tf.transpose(result, order) if axis != rank - 1 else result


def _kernel(node: Node, x: Value, axes: Sequence[int], outputs: Sequence[int | None], scales: Sequence[float]) -> Any:
    """Return what TensorFlow's kernel for pictures gives; None where it computes something else."""
    if len(x.shape) != 4 or not axes or not set(axes) <= {2, 3}:
        return None
    pairs = [(int(x.shape[axis] or 0), int(outputs[axis] or 0), scales[axis]) for axis in (2, 3)]
    target = [output for _, output, _ in pairs]
    mode = node.get("mode", "nearest")
    if mode == "nearest":
        found = [_nearest(node, *pair) for pair in pairs]
        for centres in (False, True):
            usual = [np.minimum(np.floor((np.arange(output) + (0.5 if centres else 0.0)) * (size / output)), size - 1)
                     for size, output, _ in pairs]
            if all(np.array_equal(*both) for both in zip(found, usual, strict=True)):
                return tf.raw_ops.ResizeNearestNeighbor(images=x.last, size=target, half_pixel_centers=centres)
        return None
    at = node.get("coordinate_transformation_mode", "asymmetric" if node.opset < 11 else "half_pixel")
    exact = at == "align_corners" or all(abs(output / size - scale) < 1e-6 for size, output, scale in pairs)
    if mode != "linear" or not exact or min(target) < 2:
        return None
    if at in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"):
        return tf.raw_ops.ResizeBilinear(images=x.last, size=target, align_corners=at == "align_corners",
                                         half_pixel_centers="half_pixel" in at)
    return None
