"""What a text is to a network that makes pictures of it: a vector for each of its tokens."""
from __future__ import annotations

from typing import Any

from etils import epy

from models.attention import MASKED
from models.positions import learned
from models.transformer import Block, embedding, stack

with epy.lazy_imports():
    import keras


def encoded_text(tokens: Any, vocabulary: int, units: int, heads: int, depth: int) -> Any:
    """Return the vectors of a text's tokens, (batch, length, units), and zeros of the padding behind them: of a text
    without tokens, which asks for nothing, all are zeros.

    A Transformer that is normalized before each part, as the text encoder of Radford et al., "Learning Transferable
    Visual Models From Natural Language Supervision", 2021, but that it reads from both sides.

    Args:
        tokens: int32 (batch, length), 0 behind the last.
        vocabulary: tokens that there are.
        units: of a token; a multiple of `heads`.
        depth: blocks.
    """
    ops, length = keras.ops, tokens.shape[1]
    block = Block(units, heads, 4 * units, deviation=None)
    is_padding = ops.equal(tokens, 0)
    x = embedding(vocabulary, units, deviation=1.0)(tokens) + learned(tokens, units, deviation=0.1)
    hidden = ops.where(ops.reshape(is_padding, (-1, 1, 1, length)), MASKED, 0.0)
    x = stack(x, block, depth, "text", bias=hidden)
    return x * ops.where(ops.reshape(is_padding, (-1, length, 1)), 0.0, 1.0)
