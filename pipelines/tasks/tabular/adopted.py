"""Models of tables that were made elsewhere, as this task has its models: named columns to logits, or to a number."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from etils import epy

from export.keras_models import bridge, ends
from export.keras_models.imported import of_two
from export.keras_models.rebuild import is_graph, replayed
from export.signature import shown

with epy.lazy_imports():
    import keras
    import numpy as np


def adopted(model: keras.Model, columns: Sequence[str], output: str, classifies: bool) -> keras.Model:
    """Return a model of a table's columns, (batch,) each, by name.

    A normalization that a model of one vector begins with is done column by column, before they are one vector:
    integers of columns in different units would share one scale there.

    Args:
        model: of one vector of as many numbers as there are columns, or of as many inputs of one number each; to one
            number per class or to one of two classes, logits or probabilities, or to a number.
        columns: by which name the model's numbers go, in its order.
        output: what the output is called: logits (batch, classes) or a number (batch,).

    Raises:
        ValueError: the model is not of that kind.
    """
    _check(model, columns, classifies)
    network = bridge.keras_graph(ends.without_activation(model) if classifies else model)
    inputs = {name: keras.Input((), name=name) for name in columns}
    numbers = [keras.ops.expand_dims(tensor, -1) for tensor in inputs.values()]
    first = None
    if len(network.inputs) == 1 and len(columns) > 1:
        first = _normalization(network)
        if first is not None:
            numbers = _normalized(first, numbers)
        numbers = [keras.ops.concatenate(numbers, axis=-1)]
    given = [keras.ops.reshape(number, (-1, *own.shape[1:])) if len(own.shape) == 1 else number
             for number, own in zip(numbers, network.inputs, strict=True)]
    (answer,) = keras.tree.flatten(replayed(network, given, lambda operation: (
        (lambda x, **settings: x) if operation is first else operation)))
    if not classifies:
        return keras.Model(inputs, {output: keras.ops.reshape(answer, (-1,))}, name=model.name)
    if answer.shape[-1] == 1:
        answer = of_two(answer, {operation.name for operation in network.operations})
    return keras.Model(inputs, {output: answer}, name=model.name)


def _check(model: keras.Model, columns: Sequence[str], classifies: bool) -> None:
    if not columns:
        raise ValueError("say which columns the model takes, in its order, as in model: {columns: [age, bmi]}")
    if not is_graph(model) or len(model.outputs) != 1:
        raise ValueError(f"{model.name} ({type(model).__name__}) must be a functional or Sequential model of one "
                         "output")
    shapes = [tensor.shape for tensor in model.inputs]
    widths = [math.prod(shape[1:]) if None not in shape[1:] and len(shape) < 3 else 0 for shape in shapes]
    if widths not in ([len(columns)], [1] * len(columns)):
        raise ValueError(f"{model.name} takes {', '.join(map(shown, shapes))}; with {len(columns)} columns it must be "
                         f"one vector of {len(columns)} numbers, or {len(columns)} inputs of one number each")
    given = model.outputs[0].shape
    if len(given) > 2 or (not classifies and math.prod(given[1:]) != 1):
        wanted = "a row of numbers" if classifies else "one number"
        raise ValueError(f"{model.name} gives {shown(given)}; it must be {wanted} per example")
    names = {operation.name for operation in bridge.keras_graph(model).operations if not isinstance(
        operation, keras.layers.InputLayer)}
    if taken := sorted(names & set(columns)):
        raise ValueError(f"{model.name} has a layer {taken[0]}, as a column is called: rename the layer or the column")


def _normalization(network: Any) -> Any:
    """Return the Normalization along the vector that a network begins with; None where it begins otherwise."""
    nodes = [node for nodes in network._nodes_by_depth.values() for node in nodes]
    taking = [node.operation for node in nodes if any(tensor is network.inputs[0] for tensor in node.input_tensors)]
    if len(taking) != 1 or type(taking[0]) is not keras.layers.Normalization:
        return None
    return taking[0] if sum(node.operation is taking[0] for node in nodes) == 1 else None


def _normalized(layer: Any, numbers: Sequence[Any]) -> list[Any]:
    """Return columns, (batch, 1) each, as a normalization has them."""
    known = (np.ravel(keras.ops.convert_to_numpy(value)) for value in (layer.mean, layer.variance))
    means, variances = (np.broadcast_to(value, len(numbers)).tolist() for value in known)
    deviations = [max(math.sqrt(variance), keras.config.epsilon()) for variance in variances]
    if layer.invert:
        return [number * deviation + mean for number, mean, deviation in zip(numbers, means, deviations, strict=True)]
    return [(number - mean) / deviation for number, mean, deviation in zip(numbers, means, deviations, strict=True)]
