"""Networks as PyTorch has them: what keras.applications and the papers' code for TensorFlow draw otherwise.

PyTorch pads both sides of what it halves alike, TensorFlow the end alone where the size is even; its ResNet-50 halves
in the 3 x 3 convolution of a block and not in the first 1 x 1 (torchvision's "ResNet v1.5"); and batch normalization
divides by another epsilon.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras


def formed(model: keras.Model, epsilon: float) -> keras.Model:
    """Return a network of convolutions as PyTorch has it, with fresh weights and the same names.

    Args:
        model: functional, of one image; its 3 x 3 convolutions behind a 1 x 1 of stride 2 take over the stride.
        epsilon: of batch normalization.
    """
    behind = _takers(model)
    halving = {layer.name for layer in model.layers if _halves(layer)}
    late = {layer.name: _next_convolution(layer, behind).name for layer in model.layers
            if layer.name in halving and layer.name.endswith("_1_conv")}  # of the bottlenecks of keras.applications
    halving = (halving - set(late)) | set(late.values())
    padded = {layer.name: _next_convolution(layer, behind) for layer in model.layers
              if isinstance(layer, keras.layers.ZeroPadding2D)}

    @functools.cache
    def replaced(operation: Any) -> Callable[..., Any]:
        if not isinstance(operation, keras.layers.Layer):
            return operation
        config = operation.get_config()
        if isinstance(operation, keras.layers.BatchNormalization):
            config["epsilon"] = epsilon
        if operation.name in late:
            config["strides"] = (1, 1)
        if operation.name in padded:
            config["padding"] = tuple((size // 2, size // 2) for size in _size(padded[operation.name]))
        if operation.name in halving and config["padding"] == "same":
            config |= {"padding": "valid", "strides": (2, 2)}
            around = keras.layers.ZeroPadding2D(tuple(size // 2 for size in _size(operation)),
                                                name=f"{operation.name}_around")
            layer = type(operation).from_config(config)
            return lambda x: layer(around(x))
        return type(operation).from_config(config)

    pixels = keras.Input(model.inputs[0].shape[1:], name=model.inputs[0]._keras_history.operation.name)
    return keras.Model(pixels, model._run_through_graph(pixels, operation_fn=replaced), name=model.name)


def _halves(layer: Any) -> bool:
    """Return whether a layer halves the resolution in windows of more than one pixel, or is the first of a bottleneck
    that does."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.MaxPooling2D)
    return isinstance(layer, kinds) and tuple(layer.strides) == (2, 2) and (
        max(_size(layer)) > 1 or layer.name.endswith("_1_conv"))


def _size(layer: Any) -> tuple[int, ...]:
    return tuple(layer.pool_size if hasattr(layer, "pool_size") else layer.kernel_size)


def _takers(model: keras.Model) -> dict[int, list[Any]]:
    """Return the operations that take what each gives, by its id."""
    takers: dict[int, list[Any]] = {}
    for nodes in model._nodes_by_depth.values():
        for node in nodes:
            for tensor in node.input_tensors:
                takers.setdefault(id(tensor._keras_history.operation), []).append(node.operation)
    return takers


def _next_convolution(layer: Any, behind: dict[int, list[Any]]) -> Any:
    """Return the next layer behind one that goes over an image in windows."""
    (following,) = behind[id(layer)]
    return following if hasattr(following, "strides") else _next_convolution(following, behind)
