"""Models of sequences that are asked a few steps at a time: what they remember goes in with the steps, and out with the
answer."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

from export.conversion.fused import has_initial_state
from export.keras_models.bridge import keras_graph
from export.keras_models.graph import input_names, output_names
from export.keras_models.rebuild import is_graph, replayed
from export.predictors.streamed import EVERY_STEP, SO_FAR, STATE
from export.signature import Signature
from export.tensors import described

with epy.lazy_imports():
    import keras

#: Layers that see one step at a time, whatever their settings.
BY_STEP = ("Dense", "EinsumDense", "Embedding", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout",
           "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "Rescaling", "Normalization", "TimeDistributed",
           "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "InputLayer", "RMSNormalization",
           "ActivityRegularization", "Identity")
#: Layers that do where they work along the last axis.
ALONG_AN_AXIS = ("LayerNormalization", "BatchNormalization", "Concatenate", "UnitNormalization", "Softmax")
#: Operations of `keras.ops` that do.
OPERATIONS = ("Add", "Subtract", "Multiply", "Divide", "Relu", "Tanh", "Sigmoid", "Silu", "Gelu", "Exp", "Log", "Sqrt",
              "Square", "Absolute", "Negative", "Maximum", "Minimum", "Cast", "Clip", "Where", "Equal", "NotEqual",
              "Isnan")


class StreamingError(ValueError):
    """A model that cannot be asked step by step. The message names the layer."""


@dataclasses.dataclass(frozen=True)
class Streaming:
    """A model that is asked step by step.

    Args:
        model: from steps and states to answers and states, by name; it shares the weights of the model that it is made
            of.
        signature: of its calls; inputs and outputs whose names begin with `STATE` go from one call to the next, and
            are zeros at first.
    """

    model: keras.Model
    signature: Signature

    @property
    def states(self) -> list[str]:
        """Return the names of what it remembers."""
        return [tensor.name for tensor in self.signature.inputs if tensor.name.startswith(STATE)]


def streaming(model: keras.Model, chunk: int = 1) -> Streaming:
    """Return a model that is asked `chunk` steps at a time, equal to the given one over whole sequences.

    LSTM, GRU and SimpleRNN layers, and RNNs of their cells, remember their states; causal convolutions of sequences the
    steps that they still need.

    Args:
        model: functional or Sequential, of one sequence, (batch, time, …).

    Raises:
        StreamingError: a layer sees steps that have not come yet, or is not known to see one at a time.
    """
    if len(keras_graph(model).inputs) != 1:
        raise StreamingError(f"{model.name} has {len(keras_graph(model).inputs)} inputs; a model that streams has one")
    whole = keras_graph(model).inputs[0]
    if len(whole.shape) < 2:
        raise StreamingError(f"{model.name} takes no sequence")
    shape = (1, chunk, *whole.shape[2:])
    name = input_names(model)[0]
    steps = keras.Input(batch_shape=shape, dtype=whole.dtype, name=name)
    states: dict[str, Any] = {}
    nexts: dict[str, Any] = {}

    def remembered(size: Sequence[int]) -> tuple[str, Any]:
        key = f"{STATE}{len(states)}"
        states[key] = keras.Input(batch_shape=(1, *size), name=key)
        return key, states[key]

    seen: set[int] = set()

    def replaced(operation: Any) -> Any:
        if is_graph(operation):
            return lambda x, **settings: replayed(operation, keras.tree.flatten(x), replaced)
        if _is_recurrent(operation) or _is_causal(operation):
            if id(operation) in seen:
                raise StreamingError(f"{_called(operation)} is used more than once")
            seen.add(id(operation))
            make = _recurrent if _is_recurrent(operation) else _causal
            return make(operation, remembered, nexts)
        if reason := _hindrance(operation):
            raise StreamingError(f"{_called(operation)} {reason}")
        return operation

    outputs = replayed(model, [steps], replaced)
    names = output_names(model)
    answers = dict(zip(names, keras.tree.flatten(outputs), strict=True))
    every = {name: len(tensor.shape) == len(old.shape) and tensor.shape[1] == chunk and old.shape[1] == whole.shape[1]
             for (name, tensor), old in zip(answers.items(), keras_graph(model).outputs, strict=True)}
    if len(set(every.values())) > 1:
        raise StreamingError(f"{model.name} gives answers for each step and for all of them; a model that streams "
                             "gives either")
    result = keras.Model({name: steps, **states}, {**answers, **nexts}, name=model.name)
    inputs = [described(name, steps.dtype, shape), *(described(key, "float32", tuple(state.shape))
                                                     for key, state in states.items())]
    given = [described(key, "float32", tuple(tensor.shape), output=True)
             for key, tensor in {**answers, **nexts}.items()]
    return Streaming(result, Signature(
        name=EVERY_STEP if all(every.values()) else SO_FAR,
        inputs=tuple(_as_state(tensor) for tensor in inputs), outputs=tuple(_as_state(tensor) for tensor in given)))


def _as_state(tensor: Any) -> Any:
    return tensor.model_copy(update={"role": "state"}) if tensor.name.startswith(STATE) else tensor


def _called(operation: Any) -> str:
    return f"{operation.name} ({type(operation).__name__})"


def _is_recurrent(operation: Any) -> bool:
    return isinstance(operation, keras.layers.RNN) and not type(operation).__name__.startswith("ConvLSTM")


def _is_causal(operation: Any) -> bool:
    return type(operation).__name__ in ("Conv1D", "DepthwiseConv1D", "SeparableConv1D")


def _hindrance(operation: Any) -> str:
    """Return why an operation cannot be asked step by step; "" where it can."""
    kind = type(operation).__name__
    if not isinstance(operation, keras.layers.Layer):
        if kind in OPERATIONS or (kind == "GetItem" and _takes_the_last(operation)):
            return ""
        return "is not known to see one step at a time"
    if kind in BY_STEP or (kind in ALONG_AN_AXIS and _is_along_the_last(operation)):
        return ""
    if kind == "Bidirectional":
        return "goes through the sequence backwards, which is not there yet"
    return "sees the whole sequence, which is not there yet"


def _is_along_the_last(operation: Any) -> bool:
    """Return whether a layer works along the last axis alone."""
    axes = operation.axis if isinstance(operation.axis, (list, tuple)) else [operation.axis]
    width = len(operation._inbound_nodes[0].output_tensors[0].shape)
    return [axis % width for axis in axes] == [width - 1]


def _takes_the_last(operation: Any) -> bool:
    """Return whether an operation is `sequence[:, -1]`."""
    arguments = operation._inbound_nodes[0].arguments
    key = [*arguments.args[1:2], *arguments.kwargs.values()][:1]
    return bool(key) and isinstance(key[0], tuple) and key[0][1:2] == (-1,) and key[0][:1] == (slice(None),)


def _recurrent(layer: Any, remembered: Callable[[Sequence[int]], tuple[str, Any]], nexts: dict[str, Any]) -> Any:
    """Return the function that computes a recurrent layer over some steps, cell by cell."""
    if layer.go_backwards:
        raise StreamingError(f"{_called(layer)} goes through the sequence backwards, which is not there yet")
    if layer.stateful or layer.return_state or has_initial_state(layer):
        raise StreamingError(f"{_called(layer)} is given or gives its state, which a model that streams does itself")
    if any(node.arguments.kwargs.get("mask") is not None for node in layer._inbound_nodes):
        raise StreamingError(f"{_called(layer)} has a mask; a model that streams is asked the steps that there are")

    def computed(sequence: Any, **settings: Any) -> Any:
        cells = getattr(layer.cell, "cells", [layer.cell])
        kept = []
        for cell in cells:
            sizes = cell.state_size if isinstance(cell.state_size, (list, tuple)) else [cell.state_size]
            kept.append([remembered((size,)) for size in sizes])
        current = [[state for _, state in one] for one in kept]
        outputs = []
        for step in range(sequence.shape[1]):
            x = sequence[:, step]
            for number, cell in enumerate(cells):
                x, new = _stepped(cell, x, current[number])
                current[number] = new
            outputs.append(x)
        for one, states in zip(kept, current, strict=True):
            nexts.update({key: state for (key, _), state in zip(one, states, strict=True)})
        if not layer.return_sequences:
            return outputs[-1]
        return keras.ops.stack(outputs, axis=1) if len(outputs) > 1 else keras.ops.expand_dims(outputs[0], 1)

    return computed


def _stepped(cell: Any, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """Return what a cell gives for one step, and its states after it, computed gate by gate: of gates that are split
    off one product the converter leaves some in floats."""
    class Step(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell
            self.built = True

        def call(self, given: Sequence[Any]) -> Any:
            before = getattr(cell, "implementation", None)
            if before is not None:
                cell.implementation = 1
            try:
                output, new = cell(given[0], list(given[1:]), training=False)
            finally:
                if before is not None:
                    cell.implementation = before
            return [output, *(new if isinstance(new, (list, tuple)) else [new])]

        def compute_output_spec(self, given: Sequence[Any]) -> Any:
            return [keras.KerasTensor((given[0].shape[0], tensor.shape[-1]), "float32") for tensor in given[1:2]] + [
                keras.KerasTensor(tensor.shape, "float32") for tensor in given[1:]]

    output, *new = Step()([x, *states])
    return output, new


def _causal(layer: Any, remembered: Callable[[Sequence[int]], tuple[str, Any]], nexts: dict[str, Any]) -> Any:
    """Return the function that computes a causal convolution over some steps and those before that it needs."""
    size, rate, stride = (value[0] if isinstance(value, (list, tuple)) else value
                          for value in (layer.kernel_size, layer.dilation_rate, layer.strides))
    if size > 1 and layer.padding != "causal":
        raise StreamingError(f"{_called(layer)} sees steps that have not come yet; its padding must be causal")
    if stride != 1 or layer.data_format != "channels_last":
        raise StreamingError(f"{_called(layer)} has a stride, or its channels first")
    needed = (size - 1) * rate
    config = layer.get_config()
    config["padding"] = "valid"
    copy = type(layer).from_config(config)
    copy.build(layer.input.shape)
    copy.set_weights(layer.get_weights())

    def computed(sequence: Any, **settings: Any) -> Any:
        if not needed:
            return copy(sequence)
        key, before = remembered((needed, sequence.shape[-1]))
        seen = keras.ops.concatenate([before, sequence], axis=1)
        nexts[key] = seen[:, -needed:]
        return copy(seen)

    return computed

