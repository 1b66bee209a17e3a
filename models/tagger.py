"""A recurrent network that tags each word of a text."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models import texts
from models.recurrent import lengths, recurrent
from models.registry import register

with epy.lazy_imports():
    import keras


@register("bilstm_tagger", task="token_classification", paper="https://arxiv.org/abs/1508.01991",
          at={"length": 64, "vocabulary": 20_000, "classes": 9})
def bilstm_tagger(length: int, vocabulary: int, classes: int, *, embedding: Annotated[int, Field(ge=1)] = 100,
                  units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (100,),
                  embedding_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
                  dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5) -> keras.Model:
    """An LSTM from both ends of a text, and the tags' logits of each word.

    Huang, Xu and Yu, "Bidirectional LSTM-CRF Models for Sequence Tagging", 2015, section 2.2, without the CRF.
    With vectors of d numbers, V tokens, one layer of u units in each direction and k tags there are V d +
    8 (u (u + d) + u) + (2 u + 1) k parameters: 2,162,609 for 20,000 tokens and nine tags, and 10.4 M multiply-adds for
    64 tokens.

    Args:
        length: tokens of a text.
        vocabulary: tokens that there are; 0 is padding.
        classes: tags.
        embedding: numbers of a token's vector.
        units: of each layer, in each direction.
        embedding_dropout: share of the numbers of all vectors of a text that are dropped in training.
        dropout: share of the last layer's outputs that is dropped in training.
    """
    layers = keras.layers
    tokens = texts.tokens_of(length)
    x = texts.vectors_of(tokens, vocabulary, embedding, embedding_dropout)
    x = recurrent(x, cell="lstm", units=units, length=lengths(tokens), bidirectional=True, sequences=True)
    x = layers.Dropout(dropout)(x)
    return keras.Model(tokens, layers.Dense(classes, name="logits")(x), name="bilstm_tagger")
