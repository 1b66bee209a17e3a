"""BERT as it is pretrained: it guesses tokens that are masked, from both sides (Devlin et al. 2019, section 3.1)."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks, texts
from models.bert import PAPER, block_of, encoded, encoder_size
from models.positions import constant
from models.registry import register
from models.transformer import Size, activation_class, embedding

with epy.lazy_imports():
    import keras
    import numpy as np

#: Of sentences: tokens of a text, those of them that are guessed, and tokens of the vocabulary.
AT: dict[str, Any] = {"length": 64, "guesses": 10, "vocabulary": 20_000}


def size(length: int, guesses: int, vocabulary: int, *, depth: int, units: int, heads: int, hidden: int | None,
         dropout: float) -> Size:
    """Return how large a model of `bert_mlm` is, whose arguments these are."""
    block = block_of(units, heads, hidden, dropout)
    transform = Size(units * (units + 1) + block.norm_size(), guesses * units * units)
    return encoder_size(length, vocabulary, block, depth) + transform + Size(vocabulary, guesses * vocabulary * units)


@register("bert_mlm", task="masked_language_model", paper=PAPER, at=AT, closed_form=size)
def bert_mlm(length: int, guesses: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 2,
             units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 2,
             hidden: Annotated[int, Field(ge=1)] | None = None, dropout: blocks.Dropout = 0.1) -> keras.Model:
    """The encoder of `bert`, and the logits of the tokens at some places of a text: what stood there.

    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019, and their
    code: vectors at the places go through a dense layer with GELU and a normalization; logits are their products with
    the vectors of the tokens, and a bias for each token. Layers of the encoder are called as those of `bert`, which
    takes their weights over.

    With V tokens, T positions, P places, d units and L blocks there are (V + T + 2) d + 2 d + L (12 d^2 + 13 d) + d^2 +
    3 d + V parameters, and L (12 d^2 T + 2 T^2 d) + P (d^2 + V d) multiply-adds: bert_mlm 3,002,016 and 53.0 M for ten
    places in 64 tokens; of the size of `bert_base` there are 109,514,298, as published.

    Args:
        length: tokens of a text.
        guesses: places that are answered.
        vocabulary: tokens that there are; 0 is padding, which nothing looks at.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the attention.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads.
    """
    block = block_of(units, heads, hidden, dropout)
    block.check("bert_mlm")
    layers, deviation = keras.layers, keras.initializers.RandomNormal(stddev=block.deviation)
    tokens = texts.tokens_of(length)
    places = keras.Input((guesses,), name="places", dtype="int32")
    vectors = embedding(vocabulary, units)
    x = encoded(tokens, vectors, block, depth)
    x = keras.ops.matmul(keras.ops.one_hot(places, length, dtype=x.dtype), x)
    x = layers.Dense(units, kernel_initializer=deviation, name="transform")(x)
    x = activation_class()("gelu", name="transform_activation")(x)
    x = block.normalization("transform_norm")(x)
    bias = layers.Embedding(1, vocabulary, name="token_bias", embeddings_initializer="zeros")
    logits = vectors(x, reverse=True) + bias(constant(tokens, np.zeros(1)))
    return keras.Model({"tokens": tokens, "places": places}, {"logits": logits}, name="bert_mlm")
