"""Attention: each query reads the values of the keys that go with it (Vaswani et al., "Attention Is All You Need",
2017, section 3.2), with several heads, of which some may share keys and values (Ainslie et al., "GQA", 2023)."""
from __future__ import annotations

import functools
from typing import Any

from etils import epy

from models.positions import rotated, rotations
from models.registry import own_layer

with epy.lazy_imports():
    import keras
    import numpy as np

#: What is added to the score of a key that must not be seen: it weighs e^-30 beside an equal. No less, so that scores
#: as integers have steps left for those that count.
MASKED = -30.0
#: The same, of scores that are not scaled, which reach further: between -20 and 20 where others stay within 10.
MASKED_UNSCALED = -100.0
#: What hides tokens that stand behind: nothing is left of them, whatever their score, and half precision has it. Less
#: would not do: in training scores grow until what follows shows through.
HIDDEN = -1e4


def causal_mask(length: int, window: int | None = None) -> np.ndarray:
    """Return what is added to scores so that no token sees those behind it, float32 (1, 1, length, length).

    Args:
        window: tokens that each sees, itself the last of them; all before it where not given.
    """
    full = np.full((length, length), HIDDEN, "float32")
    far = 0 if window is None else np.tril(full, -window)
    return (np.triu(full, 1) + far)[None, None]


def padding_mask(tokens: Any, masked: float = MASKED) -> Any:
    """Return what is added to scores so that nothing sees the padding, (batch, 1, 1, length).

    Args:
        tokens: (batch, length), 0 behind the last.
    """
    return keras.ops.cast(keras.ops.equal(tokens, 0), "float32")[:, None, None] * masked


def split_heads(x: Any, heads: int) -> Any:
    """Return (batch, heads, length, width) of (batch, length, heads * width)."""
    length, units = x.shape[1:]
    return keras.ops.transpose(keras.ops.reshape(x, (-1, length, heads, units // heads)), (0, 2, 1, 3))


def merge_heads(x: Any) -> Any:
    """Return (batch, length, heads * width) of (batch, heads, length, width)."""
    heads, length, width = x.shape[1:]
    return keras.ops.reshape(keras.ops.transpose(x, (0, 2, 1, 3)), (-1, length, heads * width))


def attention_weights(query: Any, key: Any, bias: Any = None, mask: np.ndarray | None = None, *,
                      scale: float) -> Any:
    """Return softmax(scale * query key^T + mask + bias), (batch, groups, heads / groups * queries, keys).

    Heads that share keys stand one behind the other, as if there were more queries: nothing is copied, and no tensor
    has more than four dimensions.

    Args:
        query: (batch, heads, queries, width).
        key: (batch, groups, keys, width); head h reads group h // (heads / groups).
        bias: (1 or batch, 1 or heads, 1 or queries, keys).
        mask: what depends neither on weights nor on inputs, of the same shape.
        scale: 1 / sqrt(width) in the paper.
    """
    ops = keras.ops
    (heads, queries, width), groups = query.shape[1:], key.shape[1]
    if heads != groups:
        query = ops.reshape(query, (-1, groups, heads // groups * queries, width))
    scores = ops.matmul(query * scale, ops.transpose(key, (0, 1, 3, 2)))
    for constant in (one for one in (mask, bias) if isinstance(one, np.ndarray)):
        # TensorFlow's remapper makes one operator of a product and a constant that is added, which takes 300 times as
        # long on a CPU; what is subtracted it leaves alone
        scores = scores - ops.cast(_in_groups(-constant, heads, groups, queries), scores.dtype)
    if bias is not None and not isinstance(bias, np.ndarray):
        scores = scores + ops.cast(_in_groups(bias, heads, groups, queries), scores.dtype)
    return ops.softmax(scores, axis=-1)


def weighted(weights: Any, value: Any, heads: int) -> Any:
    """Return what heads read, (batch, heads, queries, width).

    Args:
        weights: of `attention_weights`.
        value: (batch, groups, keys, width).
    """
    result = keras.ops.matmul(weights, value)
    (groups, rows, width) = result.shape[1:]
    return result if heads == groups else keras.ops.reshape(result, (-1, heads, rows * groups // heads, width))


def _in_groups(bias: Any, heads: int, groups: int, queries: int) -> Any:
    """Return a bias as the scores of heads that share keys have it."""
    if heads == groups or bias.shape[1] == bias.shape[2] == 1:
        return bias
    share, keys = heads // groups, bias.shape[3]
    if bias.shape[1] == 1:
        return keras.ops.tile(bias, (1, 1, share, 1))
    return keras.ops.reshape(bias, (-1, groups, share * queries, keys))


@own_layer
@functools.cache
def attention_class() -> type:
    """Return the layer of attention, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class Attention(keras.layers.Layer):
        """Scaled dot-product attention of queries, keys and values that dense layers made; it has no weights.

        Args:
            heads: of the queries.
            groups: of the keys and values; a divisor of `heads`.
            causal: no query sees keys behind its own position.
            rotary: the base of rotary positions; None where there are none.
            scaled: scores are divided by the root of a head's width.
            dropout: share of the weights that is dropped in training.
            window: tokens that a query sees where it is causal, see `causal_mask`.
        """

        def __init__(self, heads: int, groups: int | None = None, causal: bool = False, rotary: float | None = None,
                     scaled: bool = True, dropout: float = 0.0, window: int | None = None, **others: Any):
            super().__init__(**others)
            self.window = window
            self.heads, self.groups, self.causal = heads, groups or heads, causal
            self.rotary, self.scaled, self.dropout = rotary, scaled, dropout
            self.random = keras.random.SeedGenerator() if dropout else None

        def call(self, query: Any, key: Any, value: Any, bias: Any = None, training: Any = False) -> Any:
            """Return what the queries read, (batch, queries, heads * width).

            Args:
                query: (batch, queries, heads * width).
                key, value: (batch, keys, groups * width).
                bias: added to the scores, (1 or batch, 1 or heads, 1 or queries, keys).
            """
            query, key, value = (split_heads(x, count) for x, count in (
                (query, self.heads), (key, self.groups), (value, self.groups)))
            query, key = (self.turned(x, np.arange(x.shape[2])) for x in (query, key))
            mask = causal_mask(query.shape[2], self.window) if self.causal else None
            return self.read(query, key, value, bias, training, mask)

        @property
        def masked(self) -> float:
            """Return what is added to the score of a key that must not be seen."""
            return MASKED if self.scaled else MASKED_UNSCALED

        def read(self, query: Any, key: Any, value: Any, bias: Any, training: Any = False,
                 mask: np.ndarray | None = None) -> Any:
            """Return what queries read, (batch, queries, heads * width), all by their heads, (batch, heads or groups,
            length, width)."""
            scale = query.shape[-1]**-0.5 if self.scaled else 1.0
            weights = attention_weights(query, key, bias, mask, scale=scale)
            if self.dropout and training:
                weights = keras.random.dropout(weights, self.dropout, seed=self.random)
            return merge_heads(weighted(weights, value, self.heads))

        def turned(self, x: Any, positions: Any) -> Any:
            """Return queries or keys, (batch, heads or groups, length, width), rotated by their positions, (length,) or
            (batch, 1, length), where they are rotated at all."""
            return x if self.rotary is None else rotated(x, *rotations(positions, x.shape[-1], self.rotary))

        def compute_output_shape(self, query: Any, *others: Any, **more: Any) -> tuple[Any, ...]:
            return tuple(query)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "heads": self.heads, "groups": self.groups, "causal": self.causal,
                    "rotary": self.rotary, "scaled": self.scaled, "dropout": self.dropout, "window": self.window}

    return Attention
