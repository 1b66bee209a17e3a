"""Recurrent layers with their loop written out, step by step: TensorFlow's converter makes no integers of loops, and
crashes on most."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.conversion.fused import WRITTEN_OUT, hindrance
from export.keras_models.rebuild import rewritten

with epy.lazy_imports():
    import keras

#: Steps of a sequence, at most, that are written out: a file grows with each.
MOST_STEPS = 256


def unrolled(model: keras.Model, *, every: bool = False) -> keras.Model | None:
    """Return the same model without loops; None where it has none that can be written out.

    LSTMs that become one operator, see `fused`, stay, unless every layer is to be written out: that operator takes no
    16-bit activations.

    LSTMs and GRUs compute their gates one by one, those without a loop as well: of gates that are split off one
    product, the converter makes integers or leaves them in floats, as the order of its memory has it.

    Loops stay of sequences of unknown length or of more than `MOST_STEPS` steps, of convolutional LSTMs, of layers that
    remember their state from one call to the next, and of masked sequences there and back: Keras answers otherwise
    without the loop.
    """
    result = rewritten(model, lambda one: _written_out(one) if _is_to_be_written_out(one) and (
        every or hindrance(one, model)) else one)
    return None if result is model else result


def _is_to_be_written_out(operation: Any) -> bool:
    inner = operation.forward_layer if isinstance(operation, keras.layers.Bidirectional) else operation
    if not isinstance(inner, keras.layers.RNN) or type(inner).__name__.startswith("ConvLSTM"):
        return False
    sequence = _sequence(operation)
    if inner is not operation and inner.return_sequences and getattr(sequence, "_keras_mask", None) is not None:
        return False
    steps = sequence.shape[1]
    if inner.unroll and not any(hasattr(cell, "implementation") for cell in _cells(operation)):
        return False
    return not inner.stateful and steps is not None and (inner.unroll or steps <= MOST_STEPS)


def _written_out(layer: Any) -> Any:
    config = layer.get_config()
    parts = [config[name]["config"] for name in ("layer", "backward_layer") if config.get(name)] or [config]
    for part in parts:
        part["unroll"] = True
    copy = type(layer).from_config(config)
    setattr(copy, WRITTEN_OUT, True)
    for cell in _cells(copy):
        if hasattr(cell, "implementation"):
            cell.implementation = 1  # gate by gate
    copy.build(_sequence(layer).shape)
    copy.set_weights(layer.get_weights())
    return copy


def _cells(layer: Any) -> list[Any]:
    parts = (layer.forward_layer, layer.backward_layer) if isinstance(layer, keras.layers.Bidirectional) else (layer,)
    return [cell for part in parts for cell in getattr(part.cell, "cells", [part.cell])]


def _sequence(layer: Any) -> Any:
    """Return what a layer goes through, the first of its inputs, (batch, steps, …)."""
    return keras.tree.flatten(layer.input)[0]
