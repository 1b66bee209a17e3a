"""Transformers: encoders, decoders, and both together (Vaswani et al., "Attention Is All You Need", 2017)."""
from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

from etils import epy

from models.attention import attention_class
from models.blocks import stochastic_depth
from models.registry import own_layer

with epy.lazy_imports():
    import keras

#: `gelu_tanh` is GELU by its approximation, as GPT-2 has it.
Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]


@dataclasses.dataclass(frozen=True)
class Size:
    """What a model holds and computes.

    Args:
        parameters: all of them.
        multiply_adds: of one example, in dense layers and in the products that attention is made of.
    """

    parameters: int
    multiply_adds: int

    def __add__(self, other: Size) -> Size:
        return Size(self.parameters + other.parameters, self.multiply_adds + other.multiply_adds)

    def times(self, count: int) -> Size:
        """Return the size of so many."""
        return Size(count * self.parameters, count * self.multiply_adds)


@dataclasses.dataclass(frozen=True)
class Block:
    """What each block of a Transformer is like.

    Args:
        units: of a token.
        heads: of the attention.
        hidden: units of the feed-forward part.
        groups: heads of keys and values, each of which serves heads of queries alike (Ainslie et al., "GQA", 2023);
            as many as `heads` where not given.
        head_width: units of a head; units / heads where not given.
        activation: of the feed-forward part.
        gated: the feed-forward part multiplies two dense layers (Shazeer, "GLU Variants Improve Transformer", 2020).
        norm: normalization of mean and deviation (Ba et al. 2016), or by the root of the mean square alone (Zhang and
            Sennrich 2019).
        epsilon: of the normalization.
        first: normalized before each part, and once behind the last block; else behind each sum, as in the first paper.
        biased: dense layers have biases.
        query_biased: those of queries, keys and values have, where others have none (Yang et al., "Qwen2", 2024).
        heads_normalized: the queries and keys of each head are normalized by the root of their mean square, before they
            are rotated (Yang et al., "Qwen3", 2025).
        behind: what each part gives is normalized as well, before it is added (Team Gemma, "Gemma 3", 2025).
        window: tokens that a token sees of those before it, itself among them (Jiang et al., "Mistral 7B", 2023); all
            where not given.
        far: of so many blocks the last sees all tokens, and the others those of the window.
        far_rotary: base of the rotary positions of those that see all.
        rotary: base of rotary positions, see `models.positions.rotations`; None where there are none.
        scaled: scores are divided by the root of a head's width.
        dropout: rate on what each part adds.
        attention_dropout: rate on the weights of attention.
        deviation: of the dense layers' weights to begin with; where not given 1 / sqrt(inputs), and of queries whose
            scores are not scaled less by the root of a head's width, as in Raffel et al. 2020.
        last_deviation: of those of the last layer of each part, whose sums grow with the depth (Radford et al. 2019,
            section 2.3); `deviation` where not given.
    """

    units: int
    heads: int
    hidden: int
    groups: int | None = None
    head_width: int | None = None
    activation: Activation = "gelu"
    gated: bool = False
    norm: Literal["layer", "rms"] = "layer"
    epsilon: float = 1e-5
    first: bool = True
    biased: bool = True
    query_biased: bool = False
    heads_normalized: bool = False
    behind: bool = False
    window: int | None = None
    far: int | None = None
    far_rotary: float | None = None
    rotary: float | None = None
    scaled: bool = True
    dropout: float = 0.0
    attention_dropout: float = 0.0
    deviation: float | None = 0.02
    last_deviation: float | None = None

    @property
    def width(self) -> int:
        """Return the units of a head."""
        return self.head_width or self.units // self.heads

    @property
    def inner(self) -> tuple[int, int]:
        """Return the units of all queries of a token, and those of its keys."""
        return self.heads * self.width, (self.groups or self.heads) * self.width

    def of(self, number: int) -> Block:
        """Return what the block of this number is like."""
        if self.far is None or (number + 1) % self.far:
            return self
        return dataclasses.replace(self, window=None, rotary=self.far_rotary)

    def check(self, name: str) -> None:
        """Raise ValueError where the heads do not fit."""
        if self.head_width is None and self.units % self.heads:
            raise ValueError(f"{name}: {self.units} units do not divide among {self.heads} heads; give a multiple of "
                             f"{self.heads}")
        if self.heads % (self.groups or self.heads):
            raise ValueError(f"{name}: {self.heads} heads do not divide among {self.groups} groups; give a divisor of "
                             f"{self.heads}")
        if self.rotary is not None and self.width % 2:
            raise ValueError(f"{name}: heads of {self.width} units have no halves to rotate; give an even number")

    def norm_size(self) -> int:
        """Return the parameters of a normalization."""
        return self.units * (2 if self.norm == "layer" else 1)

    def attention_size(self, queries: int, keys: int) -> Size:
        """Return the size of an attention with its four dense layers, for so many tokens."""
        of_queries, of_keys = self.inner
        biases = (of_queries + 2 * of_keys) * (self.biased or self.query_biased) + self.units * self.biased
        beside = biases + 2 * self.width * self.heads_normalized
        dense = 2 * self.units * of_queries * queries + 2 * self.units * of_keys * keys
        return Size(2 * self.units * (of_queries + of_keys) + beside, dense + 2 * queries * keys * of_queries)

    def feed_forward_size(self, tokens: int) -> Size:
        """Return the size of a feed-forward part, for so many tokens."""
        wide = 2 if self.gated else 1
        weights = (wide + 1) * self.units * self.hidden
        return Size(weights + (wide * self.hidden + self.units) * self.biased, tokens * weights)

    def stack_size(self, depth: int, tokens: int, memory: int | None = None) -> Size:
        """Return the size of so many blocks, and of the last normalization where there is one.

        Args:
            memory: tokens of an encoder that each block attends to as well.
        """
        parts = [self.attention_size(tokens, tokens), self.feed_forward_size(tokens)]
        if memory is not None:
            parts.append(self.attention_size(tokens, memory))
        norms = len(parts) * self.norm_size() * (1 + self.behind)
        block = sum(parts, Size(norms, 0))
        return block.times(depth) + Size(self.norm_size() * self.first, 0)

    def dense(self, units: int, name: str, deviation: float | None = None, factor: float = 1.0,
              biased: bool = False) -> Any:
        """Return a dense layer.

        Args:
            deviation: of its weights to begin with; the block's where not given.
            factor: of their variance, where the block has none.
            biased: it has a bias even where the block's have none.
        """
        known = deviation or self.deviation
        initializer: Any = keras.initializers.RandomNormal(stddev=known) if known else (
            keras.initializers.VarianceScaling(factor, "fan_in", "untruncated_normal"))
        return keras.layers.Dense(units, use_bias=self.biased or biased, name=name, kernel_initializer=initializer)

    def normalization(self, name: str) -> Any:
        """Return a layer that normalizes."""
        kind = keras.layers.LayerNormalization if self.norm == "layer" else keras.layers.RMSNormalization
        return kind(epsilon=self.epsilon, name=name)


def embedding(vocabulary: int, units: int, deviation: float = 0.02, name: str = "embedding") -> Any:
    """Return the layer that has a vector of each token, and with `reverse=True` makes logits of vectors (Press and Wolf
    2017)."""
    return keras.layers.ReversibleEmbedding(vocabulary, units, name=name,
                                            embeddings_initializer=keras.initializers.RandomNormal(stddev=deviation))


def multi_head_attention(x: Any, block: Block, name: str, *, memory: Any = None, bias: Any = None,
                         causal: bool = False) -> Any:
    """Return what tokens read from each other, or from a memory, (batch, length, units).

    Args:
        x: (batch, length, units).
        memory: what keys and values are made of, (batch, time, units); x where not given.
        bias: what is added to scores, (1 or batch, 1 or heads, 1 or length, time).
        causal: no token reads from those behind it.
    """
    of_queries, of_keys = block.inner
    read = x if memory is None else memory
    attention = attention_class()(block.heads, block.groups, causal, None if memory is not None else block.rotary,
                                  block.scaled, block.attention_dropout, block.window if causal else None, name=name)
    biased = block.query_biased
    key, value = (block.dense(of_keys, f"{name}_{part}", biased=biased)(read) for part in ("key", "value"))
    query = block.dense(of_queries, f"{name}_query", factor=1.0 if block.scaled else 1 / block.width,
                        biased=biased)(x)
    if block.heads_normalized:
        query, key = (_normalized(y, block, f"{name}_{part}_norm") for y, part in ((query, "query"), (key, "key")))
    y = attention(query, key, value, bias)
    return block.dense(block.units, f"{name}_output", block.last_deviation)(y)


def _normalized(x: Any, block: Block, name: str) -> Any:
    """Return queries or keys, (batch, length, heads * width), each head normalized."""
    length, units = x.shape[1:]
    heads = keras.layers.Reshape((length, units // block.width, block.width))(x)
    normalization = keras.layers.RMSNormalization(epsilon=block.epsilon, name=name)
    return keras.layers.Reshape((length, units))(normalization(heads))


def feed_forward(x: Any, block: Block, name: str) -> Any:
    """Return W2 f(W1 x), or W2 (f(Wg x) * (W1 x)) where it is gated: SwiGLU with silu, GeGLU with gelu; (batch, length,
    units)."""
    wide = block.dense(block.hidden, f"{name}_wide")(x)
    gate = [block.dense(block.hidden, f"{name}_gate")(x)] if block.gated else []
    activation = activation_class()(block.activation, name=f"{name}_activation")
    return block.dense(block.units, f"{name}_output", block.last_deviation)(activation(wide, *gate))


@own_layer
@functools.cache
def activation_class() -> type:
    """Return the layer between the dense ones of a feed-forward part, made once, on demand: once it is, files with it
    can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class FeedForwardActivation(keras.layers.Layer):
        """f(x), or f(gate) * x where there is a gate.

        Args:
            activation: f.
        """

        def __init__(self, activation: Activation, **others: Any):
            super().__init__(**others)
            self.activation = activation

        def call(self, wide: Any, gate: Any = None) -> Any:
            """Return (batch, length, hidden) of as much."""
            return self.activated(wide) if gate is None else self.activated(gate) * wide

        def activated(self, x: Any) -> Any:
            """Return f(x)."""
            if self.activation.startswith("gelu"):
                return keras.ops.gelu(x, approximate=self.activation == "gelu_tanh")
            return keras.ops.silu(x) if self.activation == "silu" else keras.ops.relu(x)

        def compute_output_shape(self, wide: Any, *others: Any, **more: Any) -> tuple[Any, ...]:
            return tuple(wide)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "activation": self.activation}

    return FeedForwardActivation


def stack(x: Any, block: Block, depth: int, name: str, *, bias: Any = None, causal: bool = False, memory: Any = None,
          memory_bias: Any = None, drop: float = 0.0) -> Any:
    """Return tokens after an encoder, or a decoder where it is causal, (batch, length, units).

    Args:
        x: vectors of tokens, (batch, length, units).
        depth: blocks.
        name: what the layers' names begin with.
        bias: what is added to the scores among the tokens, see `models.attention.attention_weights`.
        memory: what an encoder gave, which each block attends to as well, (batch, time, units).
        memory_bias: what is added to the scores of the memory.
        drop: rate at which the last residual branch is left out; earlier ones less, in proportion.
    """
    for number in range(depth):
        own, rate, this = f"{name}_{number}", drop * number / max(1, depth - 1), block.of(number)
        x = _residual(x, block, f"{own}_attention", rate, lambda y, part, this=this: multi_head_attention(
            y, this, part, bias=bias, causal=causal))
        if memory is not None:
            x = _residual(x, block, f"{own}_memory", rate, lambda y, part: multi_head_attention(
                y, block, part, memory=memory, bias=memory_bias))
        x = _residual(x, block, f"{own}_feed_forward", rate, lambda y, part: feed_forward(y, block, part))
    return block.normalization(f"{name}_norm")(x) if block.first else x


def _residual(x: Any, block: Block, name: str, drop: float, part: Any) -> Any:
    """Return x and what a part adds, normalized before the part or behind the sum."""
    normalization = block.normalization(f"{name}_norm")
    y = part(normalization(x) if block.first else x, name)
    y = block.normalization(f"{name}_norm_behind")(y) if block.behind else y
    y = keras.layers.Dropout(block.dropout)(y) if block.dropout else y
    x = keras.layers.Add()([x, stochastic_depth(y, drop)])
    return x if block.first else normalization(x)
