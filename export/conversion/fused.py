"""LSTMs as the one operator that TFLite has for them, UNIDIRECTIONAL_SEQUENCE_LSTM, which has an integer form: the
converter makes it of tf_keras' function, and a loop of Keras 3's layer."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etils import epy

from export.keras_models.bridge import keras_graph
from export.keras_models.rebuild import is_graph, operations, rewritten

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: What a layer has that is to stay written out, step by step.
WRITTEN_OUT = "steps_are_written_out"
#: How the function that the converter knows an LSTM by is marked in a SavedModel.
MARK = b"api_implements"


def fused(model: keras.Model) -> keras.Model:
    """Return the same model in which each LSTM becomes one operator; itself where it has none that can.

    Layers without a bias, RNNs of LSTM cells, both directions, recurrent dropout and masks are no hindrance. What Keras
    answers in masked steps, they answer too.
    """
    if not is_graph(model):
        return model
    chosen = {id(layer) for layer in operations(model) if is_recurrent(layer) and not hindrance(layer, model)}
    if not chosen:
        return model
    return rewritten(model, lambda one: _replacement(one) if id(one) in chosen else _without_masking(one))


def is_recurrent(layer: Any) -> bool:
    """Return whether an operation computes in a loop over the steps of a sequence."""
    return isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional))


def hindrance(layer: Any, model: keras.Model) -> str:
    """Return why a recurrent layer of a model stays a loop; "" where it becomes one operator.

    Args:
        model: that the layer is in, which may use what it gives beside its output.
    """
    if hasattr(layer, WRITTEN_OUT):
        return "its steps are written out"
    inner = (layer.forward_layer, layer.backward_layer) if isinstance(layer, keras.layers.Bidirectional) else (layer,)
    for one in inner:
        if type(one) not in (keras.layers.LSTM, keras.layers.RNN):
            return f"it is a {type(one).__name__}, for which TFLite has no operator"
        for cell in _cells(one):
            if type(cell) is not keras.layers.LSTMCell:
                return f"its cell is a {type(cell).__name__}, for which TFLite has no operator"
            for function, expected in ((cell.activation, keras.activations.tanh),
                                       (cell.recurrent_activation, keras.activations.sigmoid)):
                if function is not expected:
                    return f"its activation is {getattr(function, '__name__', function)}, not {expected.__name__}"
            if cell.compute_dtype != "float32":
                return f"it computes in {cell.compute_dtype}"
        if one.stateful:
            return "it keeps its state from one call to the next (stateful)"
    if has_initial_state(layer):
        return "it is given an initial state"
    if _cell_state_is_used(layer, model):
        return "its cell state is used"
    return ""


def loops(model: keras.Model) -> list[str]:
    """Return the recurrent layers of a model that stay loops, each with why: "gru (GRU): it is a GRU, for …"."""
    if not is_graph(model):
        return []
    reasons = {id(layer): (layer, hindrance(layer, model)) for layer in operations(model)
               if is_recurrent(layer) or type(layer).__name__.startswith("ConvLSTM")}
    return [f"{layer.name} ({type(layer).__name__}): {reason}" for layer, reason in reasons.values() if reason]


def has_initial_state(layer: Any) -> bool:
    """Return whether a recurrent layer is given the state that it begins with, anywhere that it is used."""
    for node in layer._inbound_nodes:
        states = [node.arguments.kwargs.get("initial_state"), *node.arguments.args[1:2]]
        if any(state is not None for state in states):
            return True
    return False


def _cells(layer: Any) -> list[Any]:
    return list(getattr(layer.cell, "cells", [layer.cell]))


def _cell_state_is_used(layer: Any, model: keras.Model) -> bool:
    """Return whether anything sees the cell state that a layer gives beside its output and that."""
    inner = layer.forward_layer if isinstance(layer, keras.layers.Bidirectional) else layer
    if not inner.return_state:
        return False
    ids = {id(tensor) for node in layer._inbound_nodes for tensor in _cell_states(layer, node.output_tensors)}
    seen = (tensor for node in layer._outbound_nodes for tensor in node.input_tensors)
    return any(id(tensor) in ids for tensor in (*seen, *_ends(model)))


def _cell_states(layer: Any, outputs: list[Any]) -> list[Any]:
    """Return the cell states among what a layer gives: its output, and the states of each cell, hidden and cell."""
    inner = layer.forward_layer if isinstance(layer, keras.layers.Bidirectional) else layer
    directions = 1 if inner is layer else 2
    states = outputs[len(outputs) - 2 * directions * len(_cells(inner)):]
    return states[1::2]


def _ends(model: keras.Model) -> Iterator[Any]:
    """Yield what a model and those inside it give."""
    yield from keras_graph(model).outputs
    for operation in operations(model):
        if is_graph(operation):
            yield from keras_graph(operation).outputs


def _without_masking(operation: Any) -> Any:
    """Return what stands for a Masking layer, which writes zeros over zeros."""
    if type(operation) is keras.layers.Masking and operation.mask_value == 0:
        return lambda inputs, **settings: inputs
    return operation


def _replacement(layer: Any) -> Any:
    class OneOperator(keras.layers.Layer):
        """A layer whose variables it shares."""

        def __init__(self) -> None:
            super().__init__(name=layer.name)
            self.layer = layer
            self.supports_masking = True
            self.built = True

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return _computed(layer, inputs, mask)

        def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
            inner = layer.forward_layer if isinstance(layer, keras.layers.Bidirectional) else layer
            return previous_mask if inner.return_sequences and not inner.return_state else None

        def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
            return keras.tree.map_structure(lambda tensor: keras.KerasTensor(tensor.shape, tensor.dtype),
                                            layer._inbound_nodes[0].outputs)

    one = OneOperator()
    return lambda inputs, mask=None, **settings: one(inputs, mask=mask)


def _computed(layer: Any, inputs: Any, mask: Any) -> Any:
    """Return what a layer makes of a sequence, (batch, time, features), under a mask, (batch, time), if there is
    one."""
    if not isinstance(layer, keras.layers.Bidirectional):
        return _one_way(layer, inputs, mask)
    ways = [_one_way(one, inputs, mask) for one in (layer.forward_layer, layer.backward_layer)]
    states: list[Any] = []
    if layer.return_state:
        states = [*ways[0][1:], *ways[1][1:]]
        ways = [ways[0][0], ways[1][0]]
    if layer.return_sequences:
        ways[1] = tf.reverse(ways[1], [1])
    merged = _merged(ways, layer.merge_mode)
    if not states:
        return merged
    return [*merged, *states] if isinstance(merged, list) else [merged, *states]


def _merged(ways: list[Any], mode: str | None) -> Any:
    if mode == "concat":
        return tf.concat(ways, axis=-1)
    if mode is None:
        return ways
    total = ways[0] * ways[1] if mode == "mul" else ways[0] + ways[1]
    return total / 2 if mode == "ave" else total


def _one_way(layer: Any, inputs: Any, mask: Any) -> Any:
    """Return what one direction makes of a sequence. The steps that a mask leaves go through the operator side by
    side, and its answers back to where they belong."""
    there = None if mask is None else tf.cast(mask, tf.int32)
    x = inputs
    if layer.go_backwards:
        x = tf.reverse(x, [1])
        there = None if there is None else tf.reverse(there, [1])
    count = None if there is None else tf.cumsum(there, axis=1)
    if count is not None:
        x = _picked(_with_a_step_of_zeros(x), _positions(count))
    hidden = []
    for cell in _cells(layer):
        x = _steps(x, cell)
        hidden.append(_last(x, count))
    output = hidden[-1]
    if layer.return_sequences:
        output = x if count is None else _as_under_a_mask(x, there, count, layer.zero_output_for_mask)
    if not layer.return_state:
        return output
    return [output, *(state for one in hidden for state in (one, one))]  # nothing sees the second


def _steps(inputs: Any, cell: Any) -> Any:
    """Return every step of an LSTM, (batch, time, units), by the function that the converter knows."""
    from tf_keras.src.layers.rnn import lstm

    batch = inputs.shape[0] or tf.shape(inputs)[0]
    zeros = tf.zeros((batch, cell.units), inputs.dtype)
    bias = tf.convert_to_tensor(cell.bias) if cell.use_bias else tf.zeros((4 * cell.units,), inputs.dtype)
    _, outputs, *_ = lstm.lstm_with_backend_selection(
        inputs=inputs, init_h=zeros, init_c=zeros, kernel=tf.convert_to_tensor(cell.kernel),
        recurrent_kernel=tf.convert_to_tensor(cell.recurrent_kernel), bias=bias, mask=None, time_major=False,
        go_backwards=False, sequence_lengths=None, zero_output_for_mask=False, return_sequences=True)
    return outputs


def _positions(count: Any) -> Any:
    """Return where the first, second … unmasked step stands, (batch, time), of how many there are up to each step,
    (batch, time); the number of steps where there are no more."""
    steps = tf.range(_time(count))
    return tf.reduce_sum(tf.cast(count[:, None, :] <= steps[None, :, None], tf.int32), axis=2)


def _last(x: Any, count: Any) -> Any:
    """Return the last step that was not masked, (batch, units); zeros where all are."""
    if count is None:
        return x[:, -1]
    return _picked(_with_a_step_of_zeros(x), _or_zeros(count[:, -1], x))


def _as_under_a_mask(x: Any, there: Any, count: Any, zeros: bool) -> Any:
    """Return steps as Keras gives them under a mask: in steps that are masked, the last one before them, or zeros where
    there is none, or where zeros are asked for."""
    return _picked(_with_a_step_of_zeros(x), _or_zeros(count * there if zeros else count, x))


def _or_zeros(number: Any, x: Any) -> Any:
    """Return the position of a step by its number, which counts from 1; that of the step of zeros for 0."""
    return tf.where(number > 0, number - 1, _time(x))


def _with_a_step_of_zeros(x: Any) -> Any:
    return tf.pad(x, [[0, 0], [0, 1], [0, 0]])


def _picked(x: Any, index: Any) -> Any:
    """Return steps of sequences by their positions, (batch,) or (batch, steps)."""
    if x.shape[0] == 1:
        return tf.gather(x, index[0], axis=1)
    return tf.gather(x, index, axis=1, batch_dims=1)


def _time(x: Any) -> Any:
    return x.shape[1] or tf.shape(x)[1]


def is_in(graph: bytes) -> bool:
    """Return whether a SavedModel's graph holds LSTMs that become one operator."""
    return MARK in graph

