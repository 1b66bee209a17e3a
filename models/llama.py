"""LLaMA: a decoder with rotary positions and gated feed-forward parts."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks, texts
from models.gpt import TASKS, logits
from models.language_rnn import CHARACTERS
from models.packed import packed_class
from models.registry import register
from models.transformer import Block, Size, embedding, stack

with epy.lazy_imports():
    import keras

LLAMA = "https://arxiv.org/abs/2302.13971"
LLAMA3 = "https://arxiv.org/abs/2407.21783"
#: What the papers' models see of a text at once, and how many tokens they know.
AT: dict[str, Any] = {"length": 2048, "vocabulary": 32_000}
AT3: dict[str, Any] = {"length": 8192, "vocabulary": 128_256}
#: Where the feed-forward part has no width given, it is a multiple of this, as blocks of weights are quantized.
MULTIPLE = 32


def size(length: int, vocabulary: int, *, depth: int, units: int, heads: int, groups: int | None, hidden: int | None,
         rotary: float, epsilon: float, tied: bool, packed: bool, dropout: float) -> Size:
    """Return how large a model of `llama` is, whose arguments these are."""
    return decoder_size(length, vocabulary, _block(units, heads, groups, hidden, rotary, epsilon, dropout), depth, tied)


@register("llama", task=TASKS, paper=LLAMA, at=CHARACTERS, closed_form=size)
@register("llama_7b", task=TASKS, paper=LLAMA, at=AT, closed_form=size, depth=32, units=4096, heads=32,
          hidden=11_008)
@register("llama_13b", task=TASKS, paper=LLAMA, at=AT, closed_form=size, depth=40, units=5120, heads=40,
          hidden=13_824)
@register("llama_33b", task=TASKS, paper=LLAMA, at=AT, closed_form=size, depth=60, units=6656, heads=52,
          hidden=17_920)
@register("llama_65b", task=TASKS, paper=LLAMA, at=AT, closed_form=size, depth=80, units=8192, heads=64,
          hidden=22_016)
@register("llama3_8b", task=TASKS, paper=LLAMA3, at=AT3, closed_form=size, depth=32, units=4096, heads=32,
          groups=8, hidden=14_336, rotary=500_000.0)
@register("llama3_70b", task=TASKS, paper=LLAMA3, at=AT3, closed_form=size, depth=80, units=8192, heads=64,
          groups=8, hidden=28_672, rotary=500_000.0)
def llama(length: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 4,
          units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 4,
          groups: Annotated[int, Field(ge=1)] | None = None, hidden: Annotated[int, Field(ge=1)] | None = None,
          rotary: Annotated[float, Field(gt=1)] = 10_000.0, epsilon: Annotated[float, Field(gt=0, lt=1)] = 1e-5,
          tied: bool = False, packed: bool = False, dropout: blocks.Dropout = 0.0) -> keras.Model:
    """The next token at every step, by a Transformer decoder as LLaMA is.

    Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023, section 2.2: normalization by the root
    of the mean square before each part and behind the last, SwiGLU, rotary positions, no biases; grouped queries as in
    Grattafiori et al., "The Llama 3 Herd of Models", 2024, table 3, whose vocabulary has 128,256 tokens with those that
    are kept for later.

    With V tokens, d units, h hidden ones, heads of w units, H of queries and G of keys, and L blocks there are
    2 V d + L (2 d w (H + G) + 3 d h + 2 d) + d parameters, and T V d + L (T (2 d w (H + G) + 3 d h) + 2 T^2 w H)
    multiply-adds: llama 821,120 and 120.6 M for 128 of 67 characters, llama_7b 6,738,415,616 and 14.6 T for 2,048
    tokens, llama_13b 13,015,864,320, llama_33b 32,528,943,616, llama_65b 65,285,660,672, llama3_8b 8,030,261,248 and
    llama3_70b 70,553,706,496.

    Args:
        length: tokens of a stretch of text.
        vocabulary: tokens that there are; 0 is padding.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the queries.
        groups: heads of the keys and values, each of which serves as many heads of queries; a divisor of `heads`, which
            it is where not given.
        hidden: units of the feed-forward part; where not given 8 / 3 of those of a token, up to a multiple of 32.
        rotary: base of the rotary positions.
        epsilon: of the normalization: 1e-6 where weights have learnt with it, as some of the published ones.
        tied: logits are made by the vectors of the tokens, else by a layer of their own.
        packed: it learns from several texts in a row, each behind token 2, which see nothing of each other; see the
            augmentation `packed`.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads, the heads not among the groups, or a head has an odd number
            of units.
    """
    block = _block(units, heads, groups, hidden, rotary, epsilon, dropout)
    return decoder("llama", length, vocabulary, block, depth, tied, packed=packed)


def decoder(name: str, length: int, vocabulary: int, block: Block, depth: int, tied: bool,
            scale: float | None = None, *, packed: bool = False) -> keras.Model:
    """Return a model of the next tokens, whose layers are called block_0_attention_query and so on.

    Args:
        name: of the model.
        tied: logits are made by the vectors of the tokens.
        scale: of these vectors, where they go in.
        packed: it learns from several texts in a row.

    Raises:
        ValueError: the heads do not fit.
    """
    block.check(name)
    tokens = texts.tokens_of(length)
    vectors = embedding(vocabulary, block.units)
    x = vectors(tokens)
    x = keras.layers.Rescaling(scale, name="embedding_scale")(x) if scale is not None else x
    x = keras.layers.Dropout(block.dropout)(x) if block.dropout else x
    apart = packed_class()(name="texts")(tokens)[0] if packed else None
    x = stack(x, block, depth, "block", bias=apart, causal=True)
    return keras.Model(tokens, {"logits": logits(x, vectors, vocabulary, tied)}, name=name)


def decoder_size(length: int, vocabulary: int, block: Block, depth: int, tied: bool) -> Size:
    """Return how large a model of `decoder` is."""
    vectors = Size(vocabulary * (1 if tied else 2) * block.units, length * vocabulary * block.units)
    return vectors + block.stack_size(depth, length)


def width_of(units: int, hidden: int | None) -> int:
    """Return the units of a gated feed-forward part: where not given 8 / 3 of those of a token, up to a multiple of
    32."""
    return hidden or -(-8 * units // (3 * MULTIPLE)) * MULTIPLE


def _block(units: int, heads: int, groups: int | None, hidden: int | None, rotary: float, epsilon: float,
           dropout: float) -> Block:
    return Block(units, heads, width_of(units, hidden), groups, activation="silu", gated=True, norm="rms",
                 epsilon=epsilon, biased=False, rotary=rotary, dropout=dropout, attention_dropout=dropout)
