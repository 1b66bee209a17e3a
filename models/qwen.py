"""Qwen: LLaMA with biases on queries, keys and values (Qwen2), or with normalized queries and keys (Qwen3)."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import blocks
from models.language_rnn import CHARACTERS
from models.llama import decoder, decoder_size, width_of
from models.registry import register
from models.transformer import Block, Size

with epy.lazy_imports():
    import keras

QWEN2 = "https://arxiv.org/abs/2407.10671"
QWEN3 = "https://arxiv.org/abs/2505.09388"
#: What the papers' models see of a text at once, and how many tokens they know; the larger ones of Qwen2 a few more.
AT: dict[str, Any] = {"length": 32_768, "vocabulary": 151_936}
AT_7B: dict[str, Any] = {"length": 32_768, "vocabulary": 152_064}
ROTARY, EPSILON = 1_000_000.0, 1e-6
Kind = Literal["qwen2", "qwen3"]


def size2(length: int, vocabulary: int, *, depth: int, tied: bool, **others: Any) -> Size:
    """Return how large a model of `qwen2` is, whose arguments these are."""
    return decoder_size(length, vocabulary, _block("qwen2", **others), depth, tied)


def size3(length: int, vocabulary: int, *, depth: int, tied: bool, **others: Any) -> Size:
    """Return how large a model of `qwen3` is, whose arguments these are."""
    return decoder_size(length, vocabulary, _block("qwen3", **others), depth, tied)


@register("qwen2", task="language_model", paper=QWEN2, at=CHARACTERS, closed_form=size2)
@register("qwen2_0_5b", task="language_model", paper=QWEN2, at=AT, closed_form=size2, depth=24, units=896, heads=14,
          groups=2, hidden=4864, rotary=ROTARY, epsilon=EPSILON, tied=True)
@register("qwen2_1_5b", task="language_model", paper=QWEN2, at=AT, closed_form=size2, depth=28, units=1536, heads=12,
          groups=2, hidden=8960, rotary=ROTARY, epsilon=EPSILON, tied=True)
@register("qwen2_7b", task="language_model", paper=QWEN2, at=AT_7B, closed_form=size2, depth=28, units=3584, heads=28,
          groups=4, hidden=18_944, rotary=ROTARY, epsilon=EPSILON, tied=False)
def qwen2(length: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 4,
          units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 4,
          groups: Annotated[int, Field(ge=1)] | None = None, hidden: Annotated[int, Field(ge=1)] | None = None,
          rotary: Annotated[float, Field(gt=1)] = 10_000.0, epsilon: Annotated[float, Field(gt=0, lt=1)] = EPSILON,
          tied: bool = True, dropout: blocks.Dropout = 0.0) -> keras.Model:
    """The next token at every step, by a Transformer decoder as Qwen2 and Qwen2.5 are.

    Yang et al., "Qwen2 Technical Report", 2024, section 2.2: LLaMA with grouped queries, and biases on queries, keys
    and values.

    With L blocks, and H heads of queries and G of keys of w units each, there are L w (H + 2 G) parameters more than in
    `llama`: qwen2 814,080 and 120.6 M multiply-adds for 128 of 67 characters, qwen2_0_5b 494,032,768 for 32,768 tokens,
    qwen2_1_5b 1,543,714,304 and qwen2_7b 7,615,616,512.

    Args:
        length: tokens of a stretch of text.
        vocabulary: tokens that there are; 0 is padding.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the queries.
        groups: heads of the keys and values; a divisor of `heads`, which it is where not given.
        hidden: units of the feed-forward part; where not given 8 / 3 of those of a token, up to a multiple of 32.
        rotary: base of the rotary positions.
        epsilon: of the normalization.
        tied: logits are made by the vectors of the tokens, else by a layer of their own.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads, the heads not among the groups, or a head has an odd number
            of units.
    """
    block = _block("qwen2", units=units, heads=heads, groups=groups, hidden=hidden, rotary=rotary, epsilon=epsilon,
                   dropout=dropout)
    return decoder("qwen2", length, vocabulary, block, depth, tied)


@register("qwen3", task="language_model", paper=QWEN3, at=CHARACTERS, closed_form=size3)
@register("qwen3_0_6b", task="language_model", paper=QWEN3, at=AT, closed_form=size3, depth=28, units=1024, heads=16,
          groups=8, head_width=128, hidden=3072, rotary=ROTARY, epsilon=EPSILON, tied=True)
@register("qwen3_1_7b", task="language_model", paper=QWEN3, at=AT, closed_form=size3, depth=28, units=2048, heads=16,
          groups=8, head_width=128, hidden=6144, rotary=ROTARY, epsilon=EPSILON, tied=True)
@register("qwen3_4b", task="language_model", paper=QWEN3, at=AT, closed_form=size3, depth=36, units=2560, heads=32,
          groups=8, head_width=128, hidden=9728, rotary=ROTARY, epsilon=EPSILON, tied=True)
@register("qwen3_8b", task="language_model", paper=QWEN3, at=AT, closed_form=size3, depth=36, units=4096, heads=32,
          groups=8, head_width=128, hidden=12_288, rotary=ROTARY, epsilon=EPSILON, tied=False)
def qwen3(length: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 4,
          units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 4,
          groups: Annotated[int, Field(ge=1)] | None = None, head_width: Annotated[int, Field(ge=2)] | None = None,
          hidden: Annotated[int, Field(ge=1)] | None = None, rotary: Annotated[float, Field(gt=1)] = 10_000.0,
          epsilon: Annotated[float, Field(gt=0, lt=1)] = EPSILON, tied: bool = True,
          dropout: blocks.Dropout = 0.0) -> keras.Model:
    """The next token at every step, by a Transformer decoder as the dense ones of Qwen3 are.

    Yang et al., "Qwen3 Technical Report", 2025, section 2: LLaMA with grouped queries, where the queries and keys of
    each head are normalized by the root of their mean square before they are rotated (Dehghani et al. 2023).

    With L blocks and heads of w units there are 2 L w parameters more than in `llama`: qwen3 812,800 and 120.6 M
    multiply-adds for 128 of 67 characters, qwen3_0_6b 596,049,920 for 32,768 tokens, qwen3_1_7b 1,720,574,976, qwen3_4b
    4,022,468,096 and qwen3_8b 8,190,735,360.

    Args:
        length: tokens of a stretch of text.
        vocabulary: tokens that there are; 0 is padding.
        depth: blocks.
        units: of a token; a multiple of `heads` where `head_width` is not given.
        heads: of the queries.
        groups: heads of the keys and values; a divisor of `heads`, which it is where not given.
        head_width: units of a head; units / heads where not given.
        hidden: units of the feed-forward part; where not given 8 / 3 of those of a token, up to a multiple of 32.
        rotary: base of the rotary positions.
        epsilon: of the normalization.
        tied: logits are made by the vectors of the tokens, else by a layer of their own.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads, the heads not among the groups, or a head has an odd number
            of units.
    """
    block = _block("qwen3", units=units, heads=heads, groups=groups, head_width=head_width, hidden=hidden,
                   rotary=rotary, epsilon=epsilon, dropout=dropout)
    return decoder("qwen3", length, vocabulary, block, depth, tied)


def _block(kind: Kind, *, units: int, heads: int, groups: int | None, hidden: int | None, rotary: float,
           epsilon: float, dropout: float, head_width: int | None = None) -> Block:
    return Block(units, heads, width_of(units, hidden), groups, head_width, activation="silu", gated=True, norm="rms",
                 epsilon=epsilon, biased=False, query_biased=kind == "qwen2", heads_normalized=kind == "qwen3",
                 rotary=rotary, dropout=dropout, attention_dropout=dropout)
