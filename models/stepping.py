"""Recurrent language models one token at a time, their states given and handed back: what an app calls that writes a
text."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

#: Layers that do nothing in inference.
IDLE = ("InputLayer", "Dropout", "SpatialDropout1D")


class Stepping(NamedTuple):
    """A model, one step at a time.

    Args:
        states: how many numbers each state has; all are 0 before the first step.
        call: from tokens, (batch,), and states, each (batch, numbers), to logits, (batch, vocabulary), and the next
            states.
    """

    states: Sequence[int]
    call: Callable[[Any, Sequence[Any]], tuple[Any, list[Any]]]


def stepping(model: Any) -> Stepping | None:
    """Return a model of tokens, recurrent layers and a last dense one, as `language_rnn` builds it, one step at a time;
    None where it has other layers, or looks both ways.

    Args:
        model: functional, of Keras 3 or tf_keras, or with layers that stand for recurrent ones.
    """
    layers = [layer for layer in model.layers if type(layer).__name__ not in IDLE]
    if len(layers) < 3 or type(layers[0]).__name__ != "Embedding" or type(layers[-1]).__name__ != "Dense":
        return None
    embedding, *middle, last = layers
    recurrent: list[Any] = [layer if hasattr(layer, "cell") else getattr(layer, "layer", None) for layer in middle]
    if any(not hasattr(layer, "cell") or layer.go_backwards for layer in recurrent):
        return None
    cells = [layer.cell for layer in recurrent]
    sizes = [[cell.state_size] if isinstance(cell.state_size, int) else list(cell.state_size) for cell in cells]

    def call(tokens: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        x = tf.gather(tf.convert_to_tensor(embedding.embeddings), tokens)
        given, following = iter(states), []
        for cell, own in zip(cells, sizes, strict=True):
            x, after = gate_by_gate(cell, x, [next(given) for _ in own])
            following += after
        return last(x), following

    return Stepping([size for own in sizes for size in own], call)


def gate_by_gate(cell: Any, x: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Return what a cell gives in inference, and its next states. Each gate is a product of its own: of gates that are
    split off one, the converter makes integers or leaves them in floats, as the order of its memory has it."""
    before = getattr(cell, "implementation", None)
    if before is not None:
        cell.implementation = 1
    try:
        output, after = cell(x, list(states), training=False)
    finally:
        if before is not None:
            cell.implementation = before
    return output, list(_flat(after))


def _flat(states: Any) -> Iterator[Any]:
    if isinstance(states, (list, tuple)):
        for one in states:
            yield from _flat(one)
    else:
        yield states
