"""Published backbones, made narrower or kept finer, for smaller tasks than those they were drawn for."""
from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras


def adapted(network: keras.Model, x: Any, *, width: float = 1.0, skip_halvings: int = 0,
            largest: int | None = None, names: Mapping[str, str] | None = None) -> Any:
    """Return the output of a network played on `x` with other settings, layer by layer; weights are fresh.

    The moving statistics of batch normalization follow within a few hundred steps: the momentum of keras.applications,
    0.99 and 0.999, is meant for trainings of a hundred thousand.

    Args:
        network: a functional backbone of 2-D convolutions, such as those of keras.applications.
        width: multiplier of the filters of every convolution.
        skip_halvings: how many of the first halvings of the resolution to leave out: their strides become 1. A network
            drawn for 224 pixels then sees images of 224 / 2**skip_halvings as its own.
        largest: what the resolution is divided by, at most: later strides become 1, and the kernels behind them reach
            as far as before, with holes (Chen et al., "Rethinking Atrous Convolution", 2017, section 3.1).
        names: other names for some of its layers, by their own; all others keep theirs.
    """
    sources, reduced = _sources(network), reductions(network)

    def before(operation: Any) -> int:
        return max((reduced[id(source)] for source in sources[id(operation)]), default=1)

    unstrided = {operation.name for operation in network.operations if _stride(operation) == 2 and (
        before(operation) < 2**skip_halvings or (largest is not None and reduced[id(operation)] > largest))}
    unpadded = {sources[id(layer)][0].name for layer in network.layers
                if layer.name in unstrided and isinstance(sources[id(layer)][0], keras.layers.ZeroPadding2D)}

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
        if largest is not None and (holes := before(layer) // largest) > 1 and "dilation_rate" in config:
            config["dilation_rate"] = (holes, holes)
        return config

    return network._run_through_graph(x, operation_fn=adapt)


def reductions(network: keras.Model) -> dict[int, int]:
    """Return what the image's resolution is divided by behind each operation of a network, by its id."""
    sources = _sources(network)
    reduced: dict[int, int] = {}
    for operation in network.operations:
        before = max((reduced[id(source)] for source in sources[id(operation)]), default=1)
        reduced[id(operation)] = before * _stride(operation)
    return reduced


def _stride(operation: Any) -> int:
    strides = getattr(operation, "strides", 1)
    return int(strides[0]) if isinstance(strides, tuple) else int(strides)


def _sources(network: keras.Model) -> dict[int, list[Any]]:
    """Return the operations that the inputs of each operation come from, by its id."""
    return {id(node.operation): [tensor._keras_history.operation for tensor in node.input_tensors]
            for nodes in network._nodes_by_depth.values() for node in nodes}
