"""Recurrent layers over padded sequences and their lengths: by gathers in place of masks, which keep TFLite's LSTM from
being one operator."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

from etils import epy

from models.registry import own_layer

with epy.lazy_imports():
    import keras
    import tensorflow as tf

Cell = Literal["lstm", "gru", "rnn"]


def recurrent(sequence: Any, *, cell: Cell = "lstm", units: Sequence[int] = (64,), length: Any = None,
              bidirectional: bool = False, dropout: float = 0.0, recurrent_dropout: float = 0.0,
              sequences: bool = False) -> Any:
    """Return what a stack of recurrent layers makes of a sequence (Hochreiter and Schmidhuber, 1997; Cho et al., 2014;
    Elman, 1990), in both directions where asked for (Schuster and Paliwal, 1997).

    With a length this is what Keras computes under a mask, but that steps behind the length, where all are given, hold
    numbers that mean nothing.

    Args:
        sequence: (batch, time, features), padded at its end where it is shorter.
        units: of each layer; in both directions, of each direction.
        length: steps before the padding, (batch,), int32, at least 1; None where every step counts.
        dropout: share of each layer's inputs that is dropped in training.
        recurrent_dropout: share of each layer's states that is dropped in training.
        sequences: whether the last layer gives every step, and not the last alone.

    Returns:
        (batch, time, units), or (batch, units); twice the units in both directions.
    """
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[cell]

    def one_way(inputs: Any, width: int) -> Any:
        return layer(width, return_sequences=True, dropout=dropout, recurrent_dropout=recurrent_dropout)(inputs)

    for number, width in enumerate(units, 1):
        every_step = sequences or number < len(units)
        forward = one_way(sequence, width)
        if not bidirectional:
            sequence = forward if every_step else last_step(forward, length)
            continue
        backward = one_way(reverse(sequence, length), width)
        if every_step:
            parts = [forward, reverse(backward, length)]
        else:
            parts = [last_step(forward, length), last_step(backward, length)]
        sequence = keras.layers.Concatenate()(parts)
    return sequence


def lengths(tokens: Any) -> Any:
    """Return how many tokens, (batch, time), stand before the padding, whose number is 0: (batch,), at least 1."""
    return lengths_class()()(tokens)


def last_step(sequence: Any, length: Any = None) -> Any:
    """Return the last step before the padding of a sequence, (batch, time, features): (batch, features)."""
    if length is None:
        return sequence[:, -1]
    return last_step_class()()([sequence, length])


def reverse(sequence: Any, length: Any = None) -> Any:
    """Return a sequence, (batch, time, features), the other way round before its padding."""
    if length is None:
        return keras.ops.flip(sequence, axis=1)
    return reverse_within_class()()([sequence, length])


@own_layer
@functools.cache
def lengths_class() -> type:
    """Return the layer that counts tokens, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class Lengths(keras.layers.Layer):
        """How many tokens stand before the padding; see `lengths`."""

        def call(self, tokens: Any) -> Any:
            """Return the lengths, (batch,), of tokens, (batch, time), int32."""
            there = tf.cast(tf.not_equal(tokens, 0), tf.int32)
            return tf.maximum(tf.reduce_sum(there, axis=-1), 1)

        def compute_output_spec(self, tokens: Any) -> Any:
            return keras.KerasTensor((tokens.shape[0],), "int32")

    return Lengths


@own_layer
@functools.cache
def last_step_class() -> type:
    """Return the layer that picks the last step, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class LastStep(keras.layers.Layer):
        """The last step before the padding; see `last_step`."""

        def call(self, given: Sequence[Any]) -> Any:
            """Return the last steps, (batch, features).

            Args:
                given: a sequence, (batch, time, features), and its length, (batch,).
            """
            sequence, length = given
            last = tf.cast(length, tf.int32) - 1
            if sequence.shape[0] == 1:
                return tf.gather(sequence, last[0], axis=1)
            return tf.gather(sequence, last, axis=1, batch_dims=1)

        def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
            batch, _, *features = input_shape[0]
            return (batch, *features)

    return LastStep


@own_layer
@functools.cache
def reverse_within_class() -> type:
    """Return the layer that turns sequences round, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class ReverseWithin(keras.layers.Layer):
        """A sequence the other way round before its padding, by a gather: `tf.reverse_sequence` has no integer kernel
        in LiteRT; see `reverse`."""

        def call(self, given: Sequence[Any]) -> Any:
            """Return the sequence the other way round, its padding where it was.

            Args:
                given: a sequence, (batch, time, features), and its length, (batch,).
            """
            sequence, length = given
            steps = tf.range(tf.shape(sequence)[1]) if sequence.shape[1] is None else tf.range(sequence.shape[1])
            last = tf.cast(length, tf.int32) - 1
            if sequence.shape[0] == 1:
                return tf.gather(sequence, tf.where(steps <= last[0], last[0] - steps, steps), axis=1)
            last = last[:, None]
            return tf.gather(sequence, tf.where(steps <= last, last - steps, steps), axis=1, batch_dims=1)

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape[0]

    return ReverseWithin
