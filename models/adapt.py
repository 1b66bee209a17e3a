"""Published backbones, made narrower or kept finer, for smaller tasks than those they were drawn for."""
from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras


def adapted(network: keras.Model, x: Any, *, width: float = 1.0, skip_halvings: int = 0,
            names: Mapping[str, str] | None = None) -> Any:
    """Return the output of a network played on `x` with other settings, layer by layer; weights are fresh.

    The moving statistics of batch normalization follow within a few hundred steps: the momentum of keras.applications,
    0.99 and 0.999, is meant for trainings of a hundred thousand.

    Args:
        network: a functional backbone of 2-D convolutions, such as those of keras.applications.
        width: multiplier of the filters of every convolution.
        skip_halvings: how many of the first halvings of the resolution to leave out: their strides become 1. A network
            drawn for 224 pixels then sees images of 224 / 2**skip_halvings as its own.
        names: other names for some of its layers, by their own; all others keep theirs.
    """
    unstrided = _unstrided(network, skip_halvings)
    unpadded = {_sources(layer)[0].name for layer in network.layers
                if layer.name in unstrided and isinstance(_sources(layer)[0], keras.layers.ZeroPadding2D)}

    @functools.cache
    def adapt(operation: Any) -> Any:
        if not isinstance(operation, keras.layers.Layer):
            return operation
        return type(operation).from_config(changed(operation))

    def changed(layer: keras.layers.Layer) -> dict[str, Any]:
        config = layer.get_config()
        config["name"] = (names or {}).get(layer.name, layer.name)
        if isinstance(layer, keras.layers.Conv2D):
            config["filters"] = max(1, round(config["filters"] * width))
        if isinstance(layer, keras.layers.Reshape) and config["target_shape"][:2] == (1, 1):
            config["target_shape"] = (1, 1, -1)
        if isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = 0.9
        if layer.name in unstrided:
            config |= {"strides": (1, 1), "padding": "same"}
        if layer.name in unpadded:
            config["padding"] = ((0, 0), (0, 0))
        return config

    return network._run_through_graph(x, operation_fn=adapt)


def _unstrided(network: keras.Model, skip_halvings: int) -> set[str]:
    """Return the layers that halve the resolution while it is still above 1 / 2**skip_halvings of the image's."""
    reduced: dict[int, int] = {}
    names = set()
    for operation in network.operations:
        before = max((reduced[id(source)] for source in _sources(operation)), default=1)
        strides = getattr(operation, "strides", 1)
        by = strides[0] if isinstance(strides, tuple) else strides
        reduced[id(operation)] = before * by
        if by == 2 and before < 2**skip_halvings:
            names.add(operation.name)
    return names


def _sources(operation: Any) -> list[Any]:
    """Return the operations that a node's inputs come from."""
    return [tensor._keras_history.operation for tensor in operation._inbound_nodes[0].input_tensors]
