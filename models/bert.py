"""BERT: an encoder that reads a text from both sides."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import blocks, texts
from models.attention import MASKED
from models.positions import constant, learned
from models.registry import register
from models.transformer import Block, Size, embedding, stack

with epy.lazy_imports():
    import keras
    import numpy as np

PAPER = "https://arxiv.org/abs/1810.04805"
TINY = "https://arxiv.org/abs/1908.08962"
#: What the paper's models see of a text at once, and how many pieces of words they know.
AT: dict[str, Any] = {"length": 512, "vocabulary": 30_522, "classes": 2}
TAGS: dict[str, Any] = {"length": 64, "vocabulary": 20_000, "classes": 9}
#: A text, and one beside it: BERT learns of pairs of sentences, and a text alone is the first.
SEGMENTS = 2
Answer = Literal["text", "tokens"]


def size(length: int, vocabulary: int, classes: int, *, answer: Answer, depth: int, units: int, heads: int,
         hidden: int | None, pooling: str, dropout: float) -> Size:
    """Return how large a model of `bert` is, whose arguments these are."""
    block = block_of(units, heads, hidden, dropout)
    head = head_size(units, classes) if answer == "text" else Size((units + 1) * classes, units * classes * length)
    return encoder_size(length, vocabulary, block, depth) + head


def head_size(units: int, classes: int) -> Size:
    """Return how large what answers of a whole text is."""
    return Size(units * (units + 1) + (units + 1) * classes, units * units + units * classes)


def encoder_size(length: int, vocabulary: int, block: Block, depth: int) -> Size:
    """Return how large an encoder is, without what answers."""
    vectors = Size((vocabulary + length + SEGMENTS) * block.units + block.norm_size(), 0)
    return vectors + block.stack_size(depth, length)


@register("bert", task="text_classification", paper=TINY, at=texts.SENTENCES, closed_form=size, answer="text")
@register("bert_base", task="text_classification", paper=PAPER, at=AT, closed_form=size, answer="text", depth=12,
          units=768, heads=12)
@register("bert_large", task="text_classification", paper=PAPER, at=AT, closed_form=size, answer="text", depth=24,
          units=1024, heads=16)
@register("bert_tagger", task="token_classification", paper=PAPER, at=TAGS, closed_form=size, answer="tokens")
def bert(length: int, vocabulary: int, classes: int, *, answer: Answer, depth: Annotated[int, Field(ge=1)] = 2,
         units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 2,
         hidden: Annotated[int, Field(ge=1)] | None = None, pooling: Literal["first", "mean"] = "first",
         dropout: blocks.Dropout = 0.1) -> keras.Model:
    """A Transformer encoder with learned positions, and the logits of a text, or of each of its tokens.

    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019: vectors of
    tokens, positions and segments, normalized; normalization behind each part; GELU; a dense layer with tanh on the
    first token. The smallest one is that of Turc et al., "Well-Read Students Learn Better", 2019.

    With V pieces of words, T positions, d units, L blocks and k classes there are (V + T + 2) d + 2 d +
    L (12 d^2 + 13 d) + d^2 + d + (d + 1) k parameters, the last but one of texts alone, and L (12 d^2 T + 2 T^2 d)
    multiply-adds and those of the head: bert 2,982,018 and 27.3 M for 64 tokens and two classes, bert_base 109,483,778
    and 48.3 G for 512, bert_large 335,143,938 and 167.5 G, bert_tagger 2,966,409 for nine tags.

    Args:
        length: tokens of a text.
        vocabulary: tokens that there are; 0 is padding, which nothing looks at.
        classes: to tell apart.
        answer: what has logits.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the attention.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        pooling: what is made of the tokens: the first one's vector, as in the paper, whose texts begin with a token of
            their own for it, or their mean.
        dropout: rate on vectors, the weights of attention, what each part adds and what the head sees.

    Raises:
        ValueError: the units do not divide among the heads.
    """
    block = block_of(units, heads, hidden, dropout)
    block.check("bert")
    tokens = texts.tokens_of(length)
    x = encoded(tokens, embedding(vocabulary, units), block, depth)
    if answer == "text":
        return keras.Model(tokens, pooled_logits(x, tokens, block, classes, pooling), name="bert")
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    return keras.Model(tokens, block.dense(classes, "logits")(x), name="bert_tagger")


def encoded(tokens: Any, vectors: Any, block: Block, depth: int, second: int | None = None) -> Any:
    """Return what a BERT makes of tokens, (batch, length, units): vectors of tokens, positions and segments,
    normalized, and blocks whose layers are called block_0_attention_query and so on.

    Args:
        tokens: int32 (batch, length).
        vectors: the layer that has those of the tokens, see `models.transformer.embedding`.
        second: where the second text begins, of two in one; None where there is one.
    """
    layers, deviation = keras.layers, keras.initializers.RandomNormal(stddev=block.deviation)
    segment = layers.Embedding(SEGMENTS, block.units, name="segments", embeddings_initializer=deviation)
    length, ops = tokens.shape[1], keras.ops
    segments_of = np.zeros(1) if second is None else (np.arange(length) >= second).astype(float)
    looked_up = vectors(ops.reshape(tokens, (-1,)))  # of one dimension, as GPUs look up
    x = ops.reshape(looked_up, (-1, length, block.units)) + learned(tokens, block.units)
    x = x + segment(constant(tokens, segments_of))
    x = block.normalization("embedding_norm")(x)
    x = layers.Dropout(block.dropout)(x) if block.dropout else x
    # chosen, and not multiplied: what is true is a number nowhere, which integers would scale
    hidden = ops.where(ops.equal(ops.reshape(tokens, (-1, 1, 1, length)), 0), MASKED, 0.0)
    return stack(x, block, depth, "block", bias=hidden)


def pooled_logits(x: Any, tokens: Any, block: Block, classes: int, pooling: str) -> Any:
    """Return the logits of a text, (batch, classes), by a dense layer with tanh on its first token or on the mean of
    all.

    Args:
        x: of `encoded`.
        tokens: int32 (batch, length).
    """
    # cut and reshaped, since GPUs drop no axis while they cut
    pooled = keras.ops.reshape(x[:, 0:1], (-1, block.units)) if pooling == "first" else mean_of(x, tokens)
    x = keras.ops.tanh(block.dense(block.units, "pooler")(pooled))
    x = keras.layers.Dropout(block.dropout)(x) if block.dropout else x
    return block.dense(classes, "logits")(x)


def mean_of(x: Any, tokens: Any) -> Any:
    """Return the mean over a text's tokens, (batch, units); 0 of none."""
    ops = keras.ops
    there = ops.where(ops.equal(ops.reshape(tokens, (-1, tokens.shape[1], 1)), 0), 0.0, 1.0)
    return keras.ops.sum(x * there, axis=1) / keras.ops.maximum(keras.ops.sum(there, axis=1), 1.0)


def block_of(units: int, heads: int, hidden: int | None, dropout: float) -> Block:
    """Return what a BERT's blocks are like."""
    return Block(units, heads, hidden or 4 * units, epsilon=1e-12, first=False, dropout=dropout,
                 attention_dropout=dropout)
