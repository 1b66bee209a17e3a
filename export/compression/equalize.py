"""Cross-layer equalization: weights of neighbouring layers get like ranges, so that one scale suits them all (Nagel
et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1)."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.keras_models.rebuild import rebuilt

with epy.lazy_imports():
    import keras
    import numpy as np

#: Passes over all pairs; ranges change by little after a few.
ROUNDS = 20
#: Layers that pass a channel's scale on as it is.
PASSING = ("ZeroPadding2D", "Dropout", "SpatialDropout2D", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D")


def equalized(model: keras.Model) -> keras.Model:
    """Return the model with batch normalization folded into the layers before it, and the weights of neighbouring
    layers equalized.

    Two layers are neighbours where nothing but ReLU, pooling or padding lies between them and nobody else sees the
    first one's output. A ReLU6 between neighbours becomes a ReLU, as the paper has it; everything else answers as
    before.

    Args:
        model: functional; it keeps its weights.
    """
    consumers = _consumers(model)
    norms = _foldable(model)
    pairs = []
    clipped: set[str] = set()
    for operation in model.operations:
        if _is_linear(operation):
            second, between = _neighbour(operation, consumers, norms)
            if second is not None:
                pairs.append((operation.name, second.name))
                clipped |= {layer.name for layer in between if getattr(layer, "max_value", None) is not None}
    folded = _folded(model, norms, clipped)
    for _ in range(ROUNDS):
        for first, second in pairs:
            _equalize(folded.get_layer(first), folded.get_layer(second))
    return folded


def _is_linear(operation: Any) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    return type(operation) in kinds and len(operation._inbound_nodes) == 1 and getattr(operation, "groups", 1) == 1


def _consumers(model: keras.Model) -> dict[int, list[Any]]:
    """Return the operations that see the output of each, by its id; None stands for the model's own output."""
    consumers: dict[int, list[Any]] = {}
    for operation in model.operations:
        for node in operation._inbound_nodes:
            for tensor in node.input_tensors:
                consumers.setdefault(id(tensor._keras_history.operation), []).append(operation)
    for tensor in model.outputs:
        consumers.setdefault(id(tensor._keras_history.operation), []).append(None)
    return consumers


def _foldable(model: keras.Model) -> dict[str, Any]:
    """Return linear layer to the batch normalization that follows it, where it has no activation and nobody else sees
    its output."""
    consumers = _consumers(model)
    norms = {}
    for operation in model.operations:
        after = consumers.get(id(operation), [])
        is_alone = len(after) == 1 and isinstance(after[0], keras.layers.BatchNormalization)
        if is_alone and _is_linear(operation) and _activation(operation) == "linear":
            norms[operation.name] = after[0]
    return norms


def _activation(layer: Any) -> str:
    return getattr(layer.activation, "__name__", "") if hasattr(layer, "activation") else "linear"


def _neighbour(layer: Any, consumers: dict[int, list[Any]], norms: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return the linear layer that follows, and what lies between; None where there is none."""
    between: list[Any] = []
    if _activation(layer) not in ("linear", "relu"):
        return None, []
    operation = norms.get(layer.name, layer)
    while True:
        after = consumers.get(id(operation), [])
        if len(after) != 1 or after[0] is None:
            return None, []
        operation = after[0]
        if _is_linear(operation):
            return operation, between
        if not _passes_scale_on(operation):
            return None, []
        between.append(operation)


def _passes_scale_on(operation: Any) -> bool:
    kind = type(operation).__name__
    if kind == "ReLU":
        return not operation.negative_slope and not operation.threshold
    if kind == "Activation":
        return _activation(operation) in ("relu", "linear")
    return kind in PASSING


def _folded(model: keras.Model, norms: dict[str, Any], clipped: set[str]) -> keras.Model:
    """Return a fresh copy whose batch normalizations are folded, and without the upper limit of the ReLUs called
    `clipped`."""
    folded = {norm.name for norm in norms.values()}

    def fresh(operation: Any) -> Any:
        if operation.name in folded:
            return lambda x, **settings: x
        if not isinstance(operation, keras.layers.Layer):
            return operation
        config = operation.get_config()
        if operation.name in norms:
            config["use_bias"] = True
        if operation.name in clipped:
            config["max_value"] = None
        return type(operation).from_config(config)

    copy = rebuilt(model, fresh)
    for layer in copy.layers:
        if layer.name in norms:
            layer.set_weights(_absorbed(model.get_layer(layer.name), norms[layer.name]))
        elif layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy


def _absorbed(layer: Any, norm: Any) -> list[np.ndarray]:
    """Return the kernel and bias that do what a layer and the batch normalization after it do."""
    kernel, bias = layer.get_weights()[0], np.asarray(layer.bias) if layer.use_bias else 0.0
    variance, mean = np.asarray(norm.moving_variance), np.asarray(norm.moving_mean)
    gain = (np.asarray(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    offset = np.asarray(norm.beta) if norm.center else 0.0
    return [(kernel * (gain.reshape(kernel.shape[2:]) if _is_depthwise(layer) else gain)).astype("float32"),
            ((bias - mean) * gain + offset).astype("float32")]


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D)


def _equalize(first: Any, second: Any) -> None:
    """Give channel i of the first layer's output and of the second's input weights of the same range."""
    kernel = first.get_weights()[0]
    next_kernel = second.get_weights()[0]
    channels = kernel.shape[2:] if _is_depthwise(first) else kernel.shape[-1:]
    axis = 2 if next_kernel.ndim == 4 else 0  # (height, width, inputs, outputs) or (inputs, outputs)
    others = tuple(number for number in range(next_kernel.ndim) if number != axis)
    out_range = np.abs(kernel).reshape(-1, np.prod(channels)).max(axis=0)
    in_range = np.abs(next_kernel).max(axis=others)
    if len(out_range) != len(in_range):
        return
    usable = (out_range > 1e-8) & (in_range > 1e-8)
    ratio = np.where(usable, out_range / np.maximum(in_range, 1e-12), 1.0)
    scale = np.sqrt(ratio).astype("float32")
    weights = first.get_weights()
    weights[0] = kernel / scale.reshape(channels)
    if first.use_bias:
        weights[1] = weights[1] / scale
    first.set_weights(weights)
    along = [1] * next_kernel.ndim
    along[axis] = len(scale)
    second.set_weights([next_kernel * scale.reshape(along), *second.get_weights()[1:]])
