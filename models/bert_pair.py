"""BERT for pairs of texts: both are read together, and one class is told of the two."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import blocks, texts
from models.bert import PAPER, block_of, encoded, encoder_size, head_size, pooled_logits
from models.registry import register
from models.transformer import Size, embedding

with epy.lazy_imports():
    import keras

#: Of pairs of sentences: tokens of the first, of the second, of the vocabulary, and classes.
AT: dict[str, Any] = {"length": 64, "second_length": 64, "vocabulary": 20_000, "classes": 3}


def size(length: int, second_length: int, vocabulary: int, classes: int, *, depth: int, units: int, heads: int,
         hidden: int | None, pooling: str, dropout: float) -> Size:
    """Return how large a model of `bert_pair` is, whose arguments these are."""
    block = block_of(units, heads, hidden, dropout)
    return encoder_size(length + second_length, vocabulary, block, depth) + head_size(units, classes)


@register("bert_pair", task="sentence_pair_classification", paper=PAPER, at=AT, closed_form=size)
def bert_pair(length: int, second_length: int, vocabulary: int, classes: int, *,
              depth: Annotated[int, Field(ge=1)] = 2, units: Annotated[int, Field(ge=1)] = 128,
              heads: Annotated[int, Field(ge=1)] = 2, hidden: Annotated[int, Field(ge=1)] | None = None,
              pooling: Literal["first", "mean"] = "first", dropout: blocks.Dropout = 0.1) -> keras.Model:
    """The encoder of `bert` over two texts, one behind the other, and the logits of the pair.

    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019, figure 4a:
    each token has a vector that says which of the texts it is of. Here the second text begins at a fixed position,
    whatever the length of the first, so that shapes and segments are constants of the file; the padding between is not
    looked at.

    With V tokens, T positions of both texts together, d units, L blocks and k classes there are (V + T + 2) d + 2 d +
    L (12 d^2 + 13 d) + d^2 + d + (d + 1) k parameters, and L (12 d^2 T + 2 T^2 d) multiply-adds and those of the head:
    bert_pair 2,990,339 and 58.7 M for two texts of 64 tokens and three classes.

    Args:
        length: tokens of the first text.
        second_length: tokens of the second.
        vocabulary: tokens that there are; 0 is padding, which nothing looks at.
        classes: to tell apart.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the attention.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        pooling: what is made of the tokens: the first one's vector or their mean.
        dropout: rate on vectors, the weights of attention, what each part adds and what the head sees.

    Raises:
        ValueError: the units do not divide among the heads.
    """
    block = block_of(units, heads, hidden, dropout)
    block.check("bert_pair")
    tokens = texts.tokens_of(length)
    second = keras.Input((second_length,), name="second", dtype="int32")
    both = keras.ops.concatenate([tokens, second], axis=1)
    x = encoded(both, embedding(vocabulary, units), block, depth, second=length)
    logits = pooled_logits(x, both, block, classes, pooling)
    return keras.Model({"tokens": tokens, "second": second}, {"logits": logits}, name="bert_pair")
