"""Mistral: LLaMA whose tokens see so many before them, and no more."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.language_rnn import CHARACTERS
from models.llama import decoder, decoder_size, width_of
from models.registry import register
from models.transformer import Block, Size

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/2310.06825"
#: What the paper's model sees of a text at once, and how many tokens it knows.
AT: dict[str, Any] = {"length": 8192, "vocabulary": 32_000}


def size(length: int, vocabulary: int, *, depth: int, tied: bool, **others: Any) -> Size:
    """Return how large a model of `mistral` is, whose arguments these are."""
    return decoder_size(length, vocabulary, _block(**others), depth, tied)


@register("mistral", task="language_model", paper=PAPER, at=CHARACTERS, closed_form=size)
@register("mistral_7b", task="language_model", paper=PAPER, at=AT, closed_form=size, depth=32, units=4096, heads=32,
          groups=8, hidden=14_336, window=4096)
def mistral(length: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 4,
            units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 4,
            groups: Annotated[int, Field(ge=1)] | None = None, hidden: Annotated[int, Field(ge=1)] | None = None,
            window: Annotated[int, Field(ge=1)] = 64, rotary: Annotated[float, Field(gt=1)] = 10_000.0,
            epsilon: Annotated[float, Field(gt=0, lt=1)] = 1e-5, tied: bool = False,
            dropout: blocks.Dropout = 0.0) -> keras.Model:
    """The next token at every step, by a Transformer decoder as Mistral 7B is.

    Jiang et al., "Mistral 7B", 2023, section 2: LLaMA with grouped queries, where a token sees as many tokens as the
    window has, itself among them; what is further back reaches it through the blocks between.

    Parameters and multiply-adds are those of `llama`: mistral 821,120 and 120.6 M for 128 of 67 characters, mistral_7b
    7,241,732,096 and 75.8 T for 8,192 tokens; products outside of the window are computed, and weigh nothing.

    Args:
        length: tokens of a stretch of text.
        vocabulary: tokens that there are; 0 is padding.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the queries.
        groups: heads of the keys and values; a divisor of `heads`, which it is where not given.
        hidden: units of the feed-forward part; where not given 8 / 3 of those of a token, up to a multiple of 32.
        window: tokens that a token sees, itself among them.
        rotary: base of the rotary positions.
        epsilon: of the normalization.
        tied: logits are made by the vectors of the tokens, else by a layer of their own.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads, the heads not among the groups, or a head has an odd number
            of units.
    """
    block = _block(units=units, heads=heads, groups=groups, hidden=hidden, window=window, rotary=rotary,
                   epsilon=epsilon, dropout=dropout)
    return decoder("mistral", length, vocabulary, block, depth, tied)


def _block(units: int, heads: int, groups: int | None, hidden: int | None, window: int, rotary: float, epsilon: float,
           dropout: float) -> Block:
    return Block(units, heads, width_of(units, hidden), groups, activation="silu", gated=True, norm="rms",
                 epsilon=epsilon, biased=False, rotary=rotary, window=window, dropout=dropout,
                 attention_dropout=dropout)
