"""Recurrent networks over words: LSTM, GRU, and the simple one."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import texts
from models.recurrent import Cell, lengths, recurrent
from models.registry import register

with epy.lazy_imports():
    import keras
    import numpy as np

#: What a step behind the end of a text weighs, as a logit: nothing beside the others. No less, so that integers have
#: steps left for these.
NOTHING = -20.0


@register("text_lstm", task="text_classification", paper="https://doi.org/10.1162/neco.1997.9.8.1735",
          at=texts.SENTENCES, cell="lstm")
@register("text_gru", task="text_classification", paper="https://arxiv.org/abs/1406.1078", at=texts.SENTENCES,
          cell="gru")
@register("text_rnn", task="text_classification", paper="https://doi.org/10.1207/s15516709cog1402_1",
          at=texts.SENTENCES, cell="rnn")
def text_rnn(length: int, vocabulary: int, classes: int, *, cell: Cell,
             embedding: Annotated[int, Field(ge=1)] = 128,
             units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (64,),
             bidirectional: bool = True, pooling: Literal["last", "mean", "max", "attention"] = "last",
             attention: Annotated[int, Field(ge=1)] = 64,
             embedding_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
             recurrent_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
             dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5) -> keras.Model:
    """Words one after the other through recurrent layers, from both ends where asked for, whatever the padding.

    Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997; Cho et al., "Learning Phrase Representations using RNN
    Encoder-Decoder", 2014; Elman, "Finding Structure in Time", 1990; both directions as in Schuster and Paliwal, 1997.
    Attention is that of Yang et al., "Hierarchical Attention Networks for Document Classification", 2016, equations 5
    to 7: steps are weighed by how they agree with a vector that is learnt.

    With vectors of d numbers, V tokens, one layer of u units in each direction and k classes there are V d +
    2 n (u (u + d) + u) + (2 u + 1) k parameters, where n is 4 for an LSTM and 1 for the simple network; a GRU has
    2 x 3 (u (u + d) + 2 u). For 20,000 tokens and two classes these are 2,659,074 (LSTM), 2,634,754 (GRU) and
    2,584,962 (RNN), with 6.3, 4.7 and 1.6 M multiply-adds for 64 tokens.

    Args:
        length: tokens of a text.
        vocabulary: tokens that there are; 0 is padding.
        classes: to tell apart.
        embedding: numbers of a token's vector.
        units: of each layer; in both directions, of each direction.
        bidirectional: texts are read from both ends.
        pooling: what is made of the last layer's steps: the last of each direction, their mean, the largest of each
            unit, or a mean that attention weighs.
        attention: units of the attention.
        embedding_dropout: share of the numbers of all vectors of a text that are dropped in training.
        recurrent_dropout: share of the states that is dropped in training.
        dropout: share of what is pooled that is dropped in training.
    """
    layers = keras.layers
    tokens = texts.tokens_of(length)
    count = lengths(tokens)
    x = texts.vectors_of(tokens, vocabulary, embedding, embedding_dropout)
    x = recurrent(x, cell=cell, units=units, length=count, bidirectional=bidirectional,
                  recurrent_dropout=recurrent_dropout, sequences=pooling != "last")
    if pooling != "last":
        x = _pooled(x, tokens, length, pooling, attention)
    x = layers.Dropout(dropout)(x)
    return keras.Model(tokens, layers.Dense(classes, name="logits")(x), name=f"text_{cell}")


def _pooled(steps: Any, tokens: Any, length: int, pooling: str, attention: int) -> Any:
    """Return one vector of a text's steps, (batch, units).

    Args:
        steps: (batch, length, units), of which those behind a text's end say nothing.
        tokens: (batch, length).
        attention: units.
    """
    ops, layers = keras.ops, keras.layers
    first = np.zeros((1, length, 1), "bool")
    first[:, 0] = True
    within = ops.logical_or(ops.expand_dims(ops.not_equal(tokens, 0), -1), first)  # of no tokens a step of padding
    if pooling == "max":
        return ops.max(ops.where(within, steps, -1.0), axis=1)  # which is below what a unit can give
    if pooling == "mean":
        counted = ops.cast(within, "float32")
        return ops.sum(steps * counted, axis=1) / ops.sum(counted, axis=1)
    agreement = layers.Dense(1, use_bias=False, name="agreement")(layers.Dense(attention, "tanh")(steps))
    weights = ops.softmax(ops.where(within, agreement, NOTHING), axis=1)
    return ops.sum(weights * steps, axis=1)
