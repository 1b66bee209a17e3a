"""DistilBERT and RoBERTa: encoders as BERT is, which know a text alone and no pair."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import blocks, texts
from models.attention import padding_mask
from models.positions import learned
from models.registry import register
from models.transformer import Block, Size, embedding, stack

with epy.lazy_imports():
    import keras

DISTILBERT = "https://arxiv.org/abs/1910.01108"
ROBERTA = "https://arxiv.org/abs/1907.11692"
#: What the papers' models see of a text at once, and how many pieces of words they know.
AT: dict[str, Any] = {"length": 512, "vocabulary": 30_522, "classes": 2}
AT_ROBERTA: dict[str, Any] = {"length": 512, "vocabulary": 50_265, "classes": 2}
Kind = Literal["distilbert", "roberta"]
#: What the dense layer behind the first token is activated by, and what is added to the variance.
ACTIVATION = {"distilbert": "relu", "roberta": "tanh"}
EPSILON = {"distilbert": 1e-12, "roberta": 1e-5}


def size(length: int, vocabulary: int, classes: int, *, depth: int, units: int, heads: int, hidden: int | None,
         dropout: float) -> Size:
    """Return how large a model of `distilbert` or `roberta` is, whose arguments these are."""
    block = _block("distilbert", units, heads, hidden, dropout)
    vectors = Size((vocabulary + length) * units + block.norm_size(), 0)
    answer = Size(units * (units + 1) + (units + 1) * classes, units * (units + classes))
    return vectors + block.stack_size(depth, length) + answer


@register("distilbert", task="text_classification", paper=DISTILBERT, at=texts.SENTENCES, closed_form=size)
@register("distilbert_base", task="text_classification", paper=DISTILBERT, at=AT, closed_form=size, depth=6, units=768,
          heads=12)
def distilbert(length: int, vocabulary: int, classes: int, *, depth: Annotated[int, Field(ge=1)] = 2,
               units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 2,
               hidden: Annotated[int, Field(ge=1)] | None = None, dropout: blocks.Dropout = 0.1) -> keras.Model:
    """A Transformer encoder as BERT is, with half of its blocks, and the logits of a text.

    Sanh et al., "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter", 2019, section 2: no
    vectors of segments, and as their classifier has it a dense layer with ReLU on the first token.

    With V pieces of words, T positions, d units, L blocks and k classes there are (V + T) d + 2 d +
    L (12 d^2 + 13 d) + d^2 + d + (d + 1) k parameters, and L (12 d^2 T + 2 T^2 d) + d^2 + d k multiply-adds: distilbert
    2,981,762 and 27.3 M for 64 tokens and two classes, distilbert_base 66,955,010 and 24.2 G for 512.

    Args:
        length: tokens of a text.
        vocabulary: tokens that there are; 0 is padding, which nothing looks at.
        classes: to tell apart.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the attention.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        dropout: rate on vectors, the weights of attention, what each part adds and what the head sees.

    Raises:
        ValueError: the units do not divide among the heads.
    """
    block = _block("distilbert", units, heads, hidden, dropout)
    return _classifier("distilbert", length, vocabulary, classes, block, depth)


@register("roberta", task="text_classification", paper=ROBERTA, at=texts.SENTENCES, closed_form=size)
@register("roberta_base", task="text_classification", paper=ROBERTA, at=AT_ROBERTA, closed_form=size, depth=12,
          units=768, heads=12)
@register("roberta_large", task="text_classification", paper=ROBERTA, at=AT_ROBERTA, closed_form=size, depth=24,
          units=1024, heads=16)
def roberta(length: int, vocabulary: int, classes: int, *, depth: Annotated[int, Field(ge=1)] = 2,
            units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 2,
            hidden: Annotated[int, Field(ge=1)] | None = None, dropout: blocks.Dropout = 0.1) -> keras.Model:
    """A Transformer encoder as BERT is, and the logits of a text.

    Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019, section 4: BERT without pairs of
    sentences, and so without vectors of segments; a dense layer with tanh on the first token. The published weights
    have two positions more, which no token stands at.

    Parameters and multiply-adds are those of `distilbert` of the same depth: roberta 2,981,762 and 27.3 M for 64 tokens
    and two classes, roberta_base 124,644,866 and 48.3 G for 512, roberta_large 355,358,722.

    Args:
        length: tokens of a text.
        vocabulary: tokens that there are; 0 is padding, which nothing looks at.
        classes: to tell apart.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the attention.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        dropout: rate on vectors, the weights of attention, what each part adds and what the head sees.

    Raises:
        ValueError: the units do not divide among the heads.
    """
    block = _block("roberta", units, heads, hidden, dropout)
    return _classifier("roberta", length, vocabulary, classes, block, depth)


def _classifier(kind: Kind, length: int, vocabulary: int, classes: int, block: Block, depth: int) -> keras.Model:
    block.check(kind)
    layers, deviation = keras.layers, keras.initializers.RandomNormal(stddev=block.deviation)
    tokens = texts.tokens_of(length)
    x = embedding(vocabulary, block.units)(tokens) + learned(tokens, block.units)
    x = block.normalization("embedding_norm")(x)
    x = layers.Dropout(block.dropout)(x) if block.dropout else x
    x = stack(x, block, depth, "block", bias=padding_mask(tokens))
    x = layers.Dense(block.units, ACTIVATION[kind], kernel_initializer=deviation, name="pooler")(x[:, 0])
    x = layers.Dropout(block.dropout)(x) if block.dropout else x
    head = layers.Dense(classes, kernel_initializer=deviation, name="logits")
    return keras.Model(tokens, head(x), name=kind)


def _block(kind: Kind, units: int, heads: int, hidden: int | None, dropout: float) -> Block:
    return Block(units, heads, hidden or 4 * units, epsilon=EPSILON[kind], first=False, dropout=dropout,
                 attention_dropout=dropout)
