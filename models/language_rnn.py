"""Recurrent language models: of each token they answer which one follows."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import texts
from models.recurrent import Cell, recurrent
from models.registry import register

with epy.lazy_imports():
    import keras

#: Of characters: tokens of a stretch of text, and of the vocabulary.
CHARACTERS: dict[str, Any] = {"length": 128, "vocabulary": 67}


@register("language_lstm", task="language_model", paper="https://arxiv.org/abs/1308.0850", at=CHARACTERS, cell="lstm")
@register("language_gru", task="language_model", paper="https://arxiv.org/abs/1406.1078", at=CHARACTERS, cell="gru")
@register("language_rnn", task="language_model", paper="https://doi.org/10.1207/s15516709cog1402_1", at=CHARACTERS,
          cell="rnn")
def language_rnn(length: int, vocabulary: int, *, cell: Cell, embedding: Annotated[int, Field(ge=1)] = 64,
                 units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (256,),
                 embedding_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
                 dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> keras.Model:
    """The next token at every step, by recurrent layers that read a text from its beginning.

    Graves, "Generating Sequences With Recurrent Neural Networks", 2013, section 2, without peepholes and skip
    connections; Cho et al., 2014; Elman, 1990. Each begins with states of zeros, and so can be asked step by step.

    With vectors of d numbers, V tokens and one layer of u units there are V d + n (u (u + d) + u) + (u + 1) V
    parameters, where n is 4 for an LSTM and 1 for the simple network; a GRU has 3 (u (u + d) + 2 u). For 67 characters
    these are 350,211 (LSTM), 268,803 (GRU) and 103,683 (RNN), with 44.1, 33.7 and 12.7 M multiply-adds for 128
    characters.

    Args:
        length: tokens of a stretch of text.
        vocabulary: tokens that there are; 0 is padding.
        embedding: numbers of a token's vector.
        units: of each layer.
        embedding_dropout: share of the numbers of all vectors of a text that are dropped in training.
        dropout: share of each layer's inputs, and of what the last one gives, that is dropped in training.
    """
    tokens = texts.tokens_of(length)
    x = texts.vectors_of(tokens, vocabulary, embedding, embedding_dropout)
    x = recurrent(x, cell=cell, units=units, dropout=dropout, sequences=True)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return keras.Model(tokens, keras.layers.Dense(vocabulary, name="logits")(x), name=f"language_{cell}")
