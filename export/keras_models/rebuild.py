"""Functional models played again with some operations replaced: what every pass that rewrites a model is made of."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epy

from export.keras_models import bridge

with epy.lazy_imports():
    import keras


def rebuilt(model: keras.Model, operation: Callable[[Any], Any]) -> keras.Model:
    """Return a model whose graph is the given one's with operations replaced. Its inputs and outputs have the model's
    names, order and structure: one tensor, a list, or a dict by name.

    Args:
        model: functional or Sequential; it stays as it is.
        operation: from an operation, a layer or a node of `keras.ops`, to what is called in its place: itself, another,
            or a function. It is asked once for each, however often that occurs in the graph.

    Example:
        >>> without_dropout = rebuilt(model, lambda one: (lambda x, **settings: x) if isinstance(one, Dropout) else one)

    Raises:
        BridgeError: the model is not a functional or Sequential one.
    """
    graph = bridge.keras_graph(model)
    inputs = [fresh_input(tensor) for tensor in graph.inputs]
    outputs = replayed(graph, inputs, operation)
    return keras.Model(keras.tree.pack_sequence_as(graph.input, inputs), outputs, name=model.name)


def replayed(model: keras.Model, inputs: Sequence[Any], operation: Callable[[Any], Any]) -> Any:
    """Return what a model's graph makes of other inputs, in the structure of its outputs, with operations replaced.

    Args:
        inputs: symbolic tensors, in the order of `model.inputs`.
        operation: see `rebuilt`.
    """
    replacements: dict[int, Any] = {}

    def replaced(one: Any) -> Any:
        if id(one) not in replacements:
            replacements[id(one)] = operation(one)
        return replacements[id(one)]

    return bridge.keras_graph(model)._run_through_graph(list(inputs), operation_fn=replaced)


def rewritten(model: keras.Model, operation: Callable[[Any], Any]) -> keras.Model:
    """Return what `rebuilt` does, with the operations of models inside the model replaced as well; the model itself
    where none is."""
    changed = False

    def replaced(one: Any) -> Any:
        nonlocal changed
        if is_graph(one):
            return rebuilt(one, replaced)
        other = operation(one)
        changed = changed or other is not one
        return other

    result = rebuilt(model, replaced)
    return result if changed else model


def is_graph(operation: Any) -> bool:
    """Return whether an operation is a model whose graph is known: a functional or Sequential one."""
    return isinstance(operation, keras.Sequential) or hasattr(operation, "_run_through_graph")


def operations(model: keras.Model) -> Iterator[Any]:
    """Give the operations of a model's graph, layers and nodes of `keras.ops`, those of models inside it too."""
    for operation in bridge.keras_graph(model).operations:
        yield operation
        if is_graph(operation):
            yield from operations(operation)


def linear(layer: Any, name: str | None = None, shape: Sequence[int | None] | None = None, **settings: Any) -> Any:
    """Return a copy of a built layer with weights, without its activation.

    Args:
        name: of the copy; the layer's own where it is None.
        shape: of what the copy takes; what the layer takes where it is None.
        settings: in which the copy differs.
    """
    config = {**layer.get_config(), "activation": "linear", "name": name or layer.name, **settings}
    copy = type(layer).from_config(config)
    copy.build(layer.input.shape if shape is None else shape)
    copy.set_weights(layer.get_weights()[:len(copy.weights)])  # the bias is the last
    return copy


def fresh_input(tensor: Any) -> Any:
    """Return an input like the one that a model has."""
    layer = tensor._keras_history.operation
    return type(layer).from_config(layer.get_config()).output
