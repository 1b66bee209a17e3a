"""Decoders one token at a time: the keys and values of the tokens before are kept, and handed from call to call."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epy

from models.attention import merge_heads, split_heads

with epy.lazy_imports():
    import tensorflow as tf

#: 1 for each position that was written, 0 behind: where the next token stands is its sum, without whole numbers.
WRITTEN = "written"


def following(written: Any) -> Any:
    """Return 1 for the position behind those that were written, 0 for all others, (batch, length)."""
    return tf.concat([tf.ones_like(written[:, :1]), written[:, :-1]], axis=1) - written


class CachedStack:
    """The blocks of a model that `models.transformer.stack` made causal.

    Args:
        model: of Keras 3 or tf_keras, or one that was rewritten for its export.
        name: what the layers' names begin with.
        length: tokens that are kept at most; those behind are not read.
    """

    def __init__(self, model: Any, name: str, length: int):
        self.layers = {layer.name: layer for layer in model.layers}
        self.name, self.length = name, length
        self.depth = sum(f"{name}_{number}_attention" in self.layers for number in range(len(self.layers)))
        self.first = f"{name}_norm" in self.layers

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what is kept, by name."""
        kept = {f"{part}_{number}": (self.length, int(self._layer(number, "attention", part).kernel.shape[-1]))
                for number in range(self.depth) for part in ("key", "value")}
        return {WRITTEN: (self.length,), **kept}

    def begin(self, batch: Any) -> dict[str, Any]:
        """Return what is kept before the first token."""
        return {name: tf.zeros((batch, *shape)) for name, shape in self.sizes.items()}

    def step(self, x: Any, states: Mapping[str, Any], *, bias: Any = None, memory_bias: Any = None) -> tuple[Any, dict]:
        """Return what the last block makes of a token, (batch, 1, units), and what is kept then.

        Args:
            x: the token's vector, (batch, 1, units).
            states: what is kept, and the keys and values of a memory, `memory_key_0` and so on, (batch, time, units).
            bias: what is added to the scores of the tokens kept, (1 or batch, 1 or heads, 1, length).
            memory_bias: what is added to the scores of the memory.
        """
        written = states[WRITTEN]
        here = following(written)
        after = {WRITTEN: written + here}
        unseen = (1 - after[WRITTEN])[:, None, None] * self._layer(0, "attention").masked
        bias = unseen if bias is None else bias + unseen
        position = tf.reduce_sum(written, axis=1)[:, None, None]
        for number in range(self.depth):
            normalized, residual = self._entered(x, number, "attention")
            query, *new = self._turned(normalized, number, position)
            kept = [f"{part}_{number}" for part in ("key", "value")]
            seen = self._within(number, bias, position)
            for name, value in zip(kept, new, strict=True):  # nothing else stands there yet
                after[name] = states[name] + here[..., None] * value
            x = residual(self._read(query, [after[name] for name in kept], seen, number, "attention"))
            if f"{self.name}_{number}_memory" in self.layers:
                normalized, residual = self._entered(x, number, "memory")
                query, memory = self._layer(number, "memory", "query")(normalized), [
                    states[f"memory_{name}"] for name in kept]
                x = residual(self._read(query, memory, memory_bias, number, "memory"))
            normalized, residual = self._entered(x, number, "feed_forward")
            x = residual(self._fed(normalized, number))
        return (self.layers[f"{self.name}_norm"](x) if self.first else x), after

    def _entered(self, x: Any, number: int, part: str) -> tuple[Any, Callable[[Any], Any]]:
        """Return what a part of a block takes, and a function from what it gives to what leaves it."""
        normalization = self._layer(number, part, "norm")
        if not self.first:
            return x, lambda y: normalization(x + y)
        if f"{self.name}_{number}_{part}_norm_behind" in self.layers:
            behind = self._layer(number, part, "norm_behind")
            return normalization(x), lambda y: x + behind(y)
        return normalization(x), lambda y: x + y

    def _within(self, number: int, bias: Any, position: Any) -> Any:
        """Return what is added to the scores of a block's tokens, with what its window leaves out.

        Args:
            bias: what is added in all blocks.
            position: of the token, (batch, 1, 1).
        """
        attention = self._layer(number, "attention")
        if attention.window is None:
            return bias
        places = tf.range(self.length, dtype=position.dtype)
        return bias + (tf.cast(places <= position - attention.window, position.dtype) * attention.masked)[:, None]

    def _turned(self, x: Any, number: int, position: Any) -> list[Any]:
        """Return query, key and value of a token, (batch, 1, heads * width), rotated where they are."""
        attention = self._layer(number, "attention")
        if attention.rotary is None:
            return [self._layer(number, "attention", part)(x) for part in ("query", "key", "value")]
        query, key, value = self._in_heads(x, number)
        return [merge_heads(one) for one in (attention.turned(query, position), attention.turned(key, position), value)]

    def _in_heads(self, x: Any, number: int) -> list[Any]:
        """Return query, key and value of tokens by their heads, (batch, heads or groups, count, width), normalized
        where they are."""
        attention = self._layer(number, "attention")
        result = []
        for part, heads in (("query", attention.heads), ("key", attention.groups), ("value", attention.groups)):
            y = split_heads(self._layer(number, "attention", part)(x), heads)
            is_normalized = f"{self.name}_{number}_attention_{part}_norm" in self.layers
            result.append(self._layer(number, "attention", part, "norm")(y) if is_normalized else y)
        return result

    def _read(self, query: Any, memory: Sequence[Any], bias: Any, number: int, part: str) -> Any:
        """Return what a query reads of keys and values, (batch, 1, units)."""
        attention = self._layer(number, part)
        key, value = (split_heads(x, attention.groups) for x in memory)
        return self._layer(number, part, "output")(
            attention.read(split_heads(query, attention.heads), key, value, bias))

    def _fed(self, x: Any, number: int) -> Any:
        """Return what the feed-forward part gives, (batch, 1, units)."""
        own = f"{self.name}_{number}_feed_forward"
        wide = [self.layers[f"{own}_{part}"](x) for part in ("wide", "gate") if f"{own}_{part}" in self.layers]
        return self._layer(number, "feed_forward", "output")(
            self._layer(number, "feed_forward", "activation").call(*wide))

    def _layer(self, number: int, *words: str) -> Any:
        """Return a layer of a block; of what stands for one in tf_keras, the layer itself."""
        layer = self.layers["_".join([self.name, str(number), *words])]
        return getattr(layer, "operation", layer)
