"""Gemma: a decoder with scaled vectors of tokens and GeGLU, and Gemma 3, most of whose blocks see a window alone."""
from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.language_rnn import CHARACTERS
from models.llama import decoder, decoder_size
from models.registry import register
from models.transformer import Block, Size

with epy.lazy_imports():
    import keras

GEMMA = "https://arxiv.org/abs/2403.08295"
GEMMA3 = "https://arxiv.org/abs/2503.19786"
#: What the papers' models see of a text at once, and how many tokens they know.
AT: dict[str, Any] = {"length": 8192, "vocabulary": 256_000}
AT3: dict[str, Any] = {"length": 32_768, "vocabulary": 262_144}
#: Bases of the rotary positions: of blocks with a window, and of Gemma 3's that see all.
ROTARY, FAR_ROTARY = 10_000.0, 1_000_000.0
#: Of so many blocks of Gemma 3 one sees all.
FAR = 6
EPSILON = 1e-6


def size(length: int, vocabulary: int, *, depth: int, **others: Any) -> Size:
    """Return how large a model of `gemma` is, whose arguments these are."""
    return decoder_size(length, vocabulary, _block(**others), depth, tied=True)


def size3(length: int, vocabulary: int, *, depth: int, **others: Any) -> Size:
    """Return how large a model of `gemma3` is, whose arguments these are."""
    return decoder_size(length, vocabulary, _block3(**others), depth, tied=True)


@register("gemma", task="language_model", paper=GEMMA, at=CHARACTERS, closed_form=size)
@register("gemma_2b", task="language_model", paper=GEMMA, at=AT, closed_form=size, depth=18, units=2048, heads=8,
          groups=1, head_width=256, hidden=16_384)
@register("gemma_7b", task="language_model", paper=GEMMA, at=AT, closed_form=size, depth=28, units=3072, heads=16,
          groups=16, head_width=256, hidden=24_576)
def gemma(length: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 4,
          units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 4,
          groups: Annotated[int, Field(ge=1)] = 1, head_width: Annotated[int, Field(ge=2)] | None = None,
          hidden: Annotated[int, Field(ge=1)] | None = None, epsilon: Annotated[float, Field(gt=0, lt=1)] = EPSILON,
          dropout: blocks.Dropout = 0.0) -> keras.Model:
    """The next token at every step, by a Transformer decoder as Gemma is.

    Gemma Team, "Gemma: Open Models Based on Gemini Research and Technology", 2024, section 2: as LLaMA, with GeGLU, by
    GELU's approximation, vectors of tokens that are multiplied by the root of their units where they go in, and make
    the logits, and in the smaller model one head of keys and values. The normalization's weights are here what they
    multiply by; the published ones are less by 1.

    With V tokens, d units, h hidden ones, heads of w units, H of queries and G of keys, and L blocks there are V d +
    L (2 d w (H + G) + 3 d h + 2 d) + d parameters, and T V d + L (T (2 d w (H + G) + 3 d h) + 2 T^2 w H) multiply-adds:
    gemma 960,000 and 139.5 M for 128 of 67 characters, gemma_2b 2,506,172,416 for 8,192 tokens and gemma_7b
    8,537,680,896.

    Args:
        length: tokens of a stretch of text.
        vocabulary: tokens that there are; 0 is padding.
        depth: blocks.
        units: of a token; a multiple of `heads` where `head_width` is not given.
        heads: of the queries.
        groups: heads of the keys and values; a divisor of `heads`.
        head_width: units of a head; units / heads where not given.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        epsilon: of the normalization.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads, the heads not among the groups, or a head has an odd number
            of units.
    """
    block = _block(units, heads, groups, head_width, hidden, epsilon, dropout)
    return decoder("gemma", length, vocabulary, block, depth, tied=True, scale=units**0.5)


@register("gemma3", task="language_model", paper=GEMMA3, at=CHARACTERS, closed_form=size3)
@register("gemma3_270m", task="language_model", paper=GEMMA3, at=AT3, closed_form=size3, depth=18, units=640, heads=4,
          groups=1, head_width=256, hidden=2048, window=512)
@register("gemma3_1b", task="language_model", paper=GEMMA3, at=AT3, closed_form=size3, depth=26, units=1152, heads=4,
          groups=1, head_width=256, hidden=6912, window=512)
def gemma3(length: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 6,
           units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 4,
           groups: Annotated[int, Field(ge=1)] = 1, head_width: Annotated[int, Field(ge=2)] | None = None,
           hidden: Annotated[int, Field(ge=1)] | None = None, window: Annotated[int, Field(ge=1)] = 64,
           epsilon: Annotated[float, Field(gt=0, lt=1)] = EPSILON, dropout: blocks.Dropout = 0.0) -> keras.Model:
    """The next token at every step, by a Transformer decoder as the texts' part of Gemma 3 is.

    Gemma Team, "Gemma 3 Technical Report", 2025, section 2: as Gemma, with normalization before and behind each part,
    and of the queries and keys of each head; of six blocks five see a window, with rotary positions of base 10,000, and
    the last all tokens, with base 1,000,000.

    With w units of a head, d of a token and L blocks there are L (2 w + 2 d) parameters more than in `gemma`: gemma3
    1,437,568 and 208.7 M multiply-adds for 128 of 67 characters, gemma3_270m 268,098,176 for 32,768 tokens and
    gemma3_1b 999,885,952.

    Args:
        length: tokens of a stretch of text.
        vocabulary: tokens that there are; 0 is padding.
        depth: blocks.
        units: of a token; a multiple of `heads` where `head_width` is not given.
        heads: of the queries.
        groups: heads of the keys and values; a divisor of `heads`.
        head_width: units of a head; units / heads where not given.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        window: tokens that a token sees in most blocks, itself among them.
        epsilon: of the normalization.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads, the heads not among the groups, or a head has an odd number
            of units.
    """
    block = _block3(units, heads, groups, head_width, hidden, window, epsilon, dropout)
    return decoder("gemma3", length, vocabulary, block, depth, tied=True, scale=units**0.5)


def _block(units: int, heads: int, groups: int, head_width: int | None, hidden: int | None, epsilon: float,
           dropout: float) -> Block:
    return Block(units, heads, hidden or 4 * units, groups, head_width, activation="gelu_tanh", gated=True, norm="rms",
                 epsilon=epsilon, biased=False, rotary=ROTARY, dropout=dropout, attention_dropout=dropout)


def _block3(units: int, heads: int, groups: int, head_width: int | None, hidden: int | None, window: int,
            epsilon: float, dropout: float) -> Block:
    return dataclasses.replace(_block(units, heads, groups, head_width, hidden, epsilon, dropout), behind=True,
                               heads_normalized=True, window=window, far=FAR, far_rotary=FAR_ROTARY)
