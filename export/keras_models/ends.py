"""Where a model's answer comes from: the activation at its end, wherever in it that is."""
from __future__ import annotations

from typing import Any, Literal

from etils import epy

from export.keras_models import bridge
from export.keras_models.rebuild import is_graph, linear, rebuilt

with epy.lazy_imports():
    import keras

#: What is taken off: softmax, sigmoid, or nothing, where the outputs are logits already.
Ending = Literal["softmax", "sigmoid", "logits"]
#: Functions of TensorFlow that are one, as a layer in Keras 2.
SYMBOLS: dict[str, Ending] = {"nn.softmax": "softmax", "nn.sigmoid": "sigmoid", "math.sigmoid": "sigmoid"}
#: Layers that change nothing where a model answers.
PASSING = ("Activation", "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
           "Identity", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
#: Layers that move numbers only, and leave the last axis as it is where its size is the same before and behind.
MOVING = ("Flatten", "Reshape")


def ending(model: keras.Model) -> Ending:
    """Return by which activation a model ends, in whichever of the models inside it that is.

    Args:
        model: functional or Sequential, of one output.
    """
    last = _last(model)
    return "logits" if last is None else _kind(last) if not isinstance(last, keras.Model) else ending(last)


def without_activation(model: keras.Model) -> keras.Model:
    """Return a model of one output without the softmax or sigmoid that it ends with; itself where it has none.

    Args:
        model: functional or Sequential. What is inside it keeps its name.
    """
    last = _last(model)
    if last is None:
        return model

    def replaced(operation: Any) -> Any:
        if operation is not last:
            return operation
        if isinstance(operation, keras.Model):
            return without_activation(operation)
        if getattr(getattr(operation, "activation", None), "__name__", "") == _kind(operation) and operation.weights:
            return linear(operation)
        return lambda x, **settings: x

    return rebuilt(model, replaced)


def _last(model: Any) -> Any:
    """Return the operation whose activation is the model's, or the inner model that has it; None where none is."""
    (output,) = keras.tree.flatten(bridge.keras_graph(model).outputs)
    while True:
        operation = output._keras_history.operation
        if isinstance(operation, keras.Model):
            is_one = is_graph(operation) and len(operation.outputs) == 1
            return operation if is_one and ending(operation) != "logits" else None
        if _kind(operation) != "logits":
            return operation
        node = operation._inbound_nodes[output._keras_history.node_index]
        if not node.input_tensors or not _passes(operation, node.input_tensors[0].shape, output.shape):
            return None
        output = node.input_tensors[0]


def _kind(operation: Any) -> Ending:
    """Return the activation that an operation is, or has; logits where it is another, or none."""
    name = type(operation).__name__
    activation = getattr(getattr(operation, "activation", None), "__name__", "")
    if name == "Softmax" or activation == "softmax":
        axis = getattr(operation, "axis", -1)
        return "softmax" if axis in (-1, len(operation.output.shape) - 1) else "logits"
    if name == "Sigmoid" or activation == "sigmoid":
        return "sigmoid"
    return SYMBOLS.get(getattr(operation, "symbol", ""), "logits")


def _passes(operation: Any, before: Any, behind: Any) -> bool:
    """Return whether what goes through an operation comes out as it was, but for where it stands."""
    name = type(operation).__name__
    if name in MOVING:
        return before[-1] == behind[-1]
    activation = getattr(getattr(operation, "activation", None), "__name__", "")
    return name in PASSING and (name != "Activation" or activation == "linear")
