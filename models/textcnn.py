"""Convolutions over words."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models import texts
from models.registry import register

with epy.lazy_imports():
    import keras


@register("textcnn", task="text_classification", paper="https://arxiv.org/abs/1408.5882", at=texts.SENTENCES)
def textcnn(length: int, vocabulary: int, classes: int, *, embedding: Annotated[int, Field(ge=1)] = 300,
            filters: Annotated[int, Field(ge=1)] = 100,
            widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (3, 4, 5),
            embedding_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
            dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
            max_norm: Annotated[float, Field(gt=0)] | None = 3.0) -> keras.Model:
    """Filters over several words at once, and the strongest answer of each anywhere in the text.

    Kim, "Convolutional Neural Networks for Sentence Classification", 2014, as CNN-rand: the vectors of words begin at
    random and are learnt, padding is the zero vector, and the weights to each class have a norm of at most 3.
    With vectors of d numbers, V tokens, f filters of each of the widths w, and k classes there are V d + the sum of
    (w d + 1) f + (f n + 1) k parameters for n widths: 6,360,902 for 20,000 tokens and two classes, and 21.9 M
    multiply-adds for 64 tokens.

    Args:
        length: tokens of a text.
        vocabulary: tokens that there are; 0 is padding.
        classes: to tell apart.
        embedding: numbers of a token's vector.
        filters: of each width.
        widths: in tokens.
        embedding_dropout: share of the numbers of all vectors of a text that are dropped in training.
        dropout: share of the filters' answers that is dropped in training.
        max_norm: of the weights to each class; null for any.

    Raises:
        ValueError: a filter is wider than a text.
    """
    if max(widths) > length:
        raise ValueError(f"textcnn: a filter is {max(widths)} tokens wide, and texts have {length}; give widths of at "
                         f"most {length}")
    layers = keras.layers
    tokens = texts.tokens_of(length)
    x = texts.vectors_of(tokens, vocabulary, embedding, embedding_dropout) * texts.there(tokens)
    answers = [layers.GlobalMaxPooling1D()(layers.Conv1D(filters, width, activation="relu")(x)) for width in widths]
    x = layers.Concatenate()(answers) if len(answers) > 1 else answers[0]
    x = layers.Dropout(dropout)(x)
    constraint = keras.constraints.MaxNorm(max_norm, axis=0) if max_norm is not None else None
    return keras.Model(tokens, layers.Dense(classes, kernel_constraint=constraint, name="logits")(x), name="textcnn")
