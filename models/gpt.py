"""GPT: a decoder that says which token follows."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks, texts
from models.language_rnn import CHARACTERS
from models.packed import packed_texts
from models.positions import learned
from models.registry import register
from models.transformer import Block, Size, embedding, stack

with epy.lazy_imports():
    import keras

GPT2 = "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf"
GPT3 = "https://arxiv.org/abs/2005.14165"
#: What decoders are trained for.
TASKS = ("language_model", "instruction_tuning")
#: What GPT-2 and GPT-3 see of a text at once, and how many tokens they know.
AT2: dict[str, Any] = {"length": 1024, "vocabulary": 50_257}
AT3: dict[str, Any] = {"length": 2048, "vocabulary": 50_257}


def size(length: int, vocabulary: int, *, depth: int, units: int, heads: int, hidden: int | None, tied: bool,
         packed: bool, dropout: float) -> Size:
    """Return how large a model of `gpt` is, whose arguments these are."""
    block = _block(depth, units, heads, hidden, dropout)
    vectors = Size((vocabulary * (1 if tied else 2) + length) * units, length * vocabulary * units)
    return vectors + block.stack_size(depth, length)


@register("gpt", task=TASKS, paper=GPT2, at=CHARACTERS, closed_form=size)
@register("gpt2", task=TASKS, paper=GPT2, at=AT2, closed_form=size, depth=12, units=768, heads=12)
@register("gpt2_medium", task=TASKS, paper=GPT2, at=AT2, closed_form=size, depth=24, units=1024, heads=16)
@register("gpt2_large", task=TASKS, paper=GPT2, at=AT2, closed_form=size, depth=36, units=1280, heads=20)
@register("gpt2_xl", task=TASKS, paper=GPT2, at=AT2, closed_form=size, depth=48, units=1600, heads=25)
@register("gpt3", task=TASKS, paper=GPT3, at=AT3, closed_form=size, depth=96, units=12_288, heads=96)
def gpt(length: int, vocabulary: int, *, depth: Annotated[int, Field(ge=1)] = 4,
        units: Annotated[int, Field(ge=1)] = 128, heads: Annotated[int, Field(ge=1)] = 4,
        hidden: Annotated[int, Field(ge=1)] | None = None, tied: bool = True, packed: bool = False,
        dropout: blocks.Dropout = 0.1) -> keras.Model:
    """The next token at every step, by a Transformer decoder with learned positions, as GPT-2 is.

    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3: normalization before each
    part and behind the last, GELU by its approximation, logits by the vectors of the tokens, the last layers of parts
    beginning smaller with the depth. Brown et al., "Language Models are Few-Shot Learners", 2020, for GPT-3, whose
    sparse layers look at all tokens here, with the same weights.

    With V tokens, T positions, d units and L blocks there are (V + T) d + L (12 d^2 + 13 d) + 2 d parameters, and
    V T d + L (12 d^2 T + 2 T^2 d) multiply-adds: gpt 818,304 and 118.5 M for 128 of 67 characters, gpt2 124,439,808 and
    145.8 G for 1,024 tokens, gpt2_medium 354,823,168, gpt2_large 774,030,080, gpt2_xl 1,557,611,200, and gpt3
    174,604,259,328 for 2,048.

    Args:
        length: tokens of a stretch of text.
        vocabulary: tokens that there are; 0 is padding.
        depth: blocks.
        units: of a token; a multiple of `heads`.
        heads: of the attention.
        hidden: units of the feed-forward part; 4 times those of a token where not given.
        tied: logits are made by the vectors of the tokens, else by a layer of their own.
        packed: it learns from several texts in a row, each behind token 2, which see nothing of each other and have
            positions of their own; see the augmentation `packed`.
        dropout: rate on vectors, the weights of attention and what each part adds.

    Raises:
        ValueError: the units do not divide among the heads.
    """
    block = _block(depth, units, heads, hidden, dropout)
    block.check("gpt")
    tokens = texts.tokens_of(length)
    vectors = embedding(vocabulary, units)
    apart, positions = packed_texts(tokens, units, 0.01) if packed else (None, learned(tokens, units, 0.01))
    x = vectors(tokens) + positions
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    x = stack(x, block, depth, "block", bias=apart, causal=True)
    return keras.Model(tokens, {"logits": logits(x, vectors, vocabulary, tied)}, name="gpt")


def logits(x: Any, vectors: Any, vocabulary: int, tied: bool) -> Any:
    """Return logits of tokens, (batch, length, vocabulary), by their vectors or by a layer of their own."""
    if tied:
        return vectors(x, reverse=True)
    initializer = keras.initializers.RandomNormal(stddev=0.02)
    return keras.layers.Dense(vocabulary, use_bias=False, kernel_initializer=initializer, name="logits")(x)


def _block(depth: int, units: int, heads: int, hidden: int | None, dropout: float) -> Block:
    return Block(units, heads, hidden or 4 * units, activation="gelu_tanh", dropout=dropout, attention_dropout=dropout,
                 last_deviation=0.02 * (2 * depth)**-0.5)
