"""Decoders some tokens at a time, as engines on phones call them: keys and values lie by their heads, in places that
are given with the tokens."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

from models.attention import HIDDEN
from models.decoding import CachedStack

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

#: What `models.gpt`, `models.llama` and its likes call their blocks.
BLOCK = "block"
#: The layer that scales the vectors of tokens, where they are.
SCALE = "embedding_scale"


class ChunkedDecoder(CachedStack):
    """A model of `gpt`, `llama` or its likes, which reads some tokens a call.

    Args:
        model: functional, of Keras 3, or rewritten for its export.

    Raises:
        ValueError: it has other layers.
    """

    def __init__(self, model: Any):
        super().__init__(model, BLOCK, model.inputs[0].shape[1])
        if not self.depth or not self.first or "embedding" not in self.layers:
            raise ValueError(f"{model.name} is not a Transformer that reads some tokens a call: gpt and llama are")
        self.vocabulary = int(self.layers["embedding"].embeddings.shape[0])

    @property
    def cache(self) -> tuple[int, int, int]:
        """Return the shape of the keys of a block, and of its values: groups, length, width."""
        groups = self._layer(0, "attention").groups
        units = int(self._layer(0, "attention", "key").kernel.shape[-1])
        return groups, self.length, units // groups

    def read(self, tokens: Any, start: Any, caches: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return what the last block makes of some tokens, (1, count, units), and the caches with them.

        Args:
            tokens: int32 (1, count).
            start: place of the first, int32 (); those behind it follow. The last has one, too: what is written behind
                the end is written over what is before it.
            caches: keys and values of each block in turn, (1, groups, length, width).
        """
        ops = keras.ops
        count = tokens.shape[1]
        places = start + ops.arange(count, dtype="int32")
        x = self._vectors(tokens)
        if "positions" in self.layers:
            table = ops.convert_to_tensor(self.layers["positions"].embeddings)
            x = x + ops.slice(table, (start, 0), (count, table.shape[1]))
        return self._blocks(x, places, caches, lambda cache, new: ops.slice_update(cache, (0, 0, start, 0), new))

    def _blocks(self, x: Any, places: Any, caches: Sequence[Any],
                keep: Callable[[Any, Any], Any]) -> tuple[Any, list[Any]]:
        """Return what the last block makes of vectors, (batch, count, units), and the caches with them.

        Args:
            places: of the tokens, (count,) or (batch, 1, count).
            keep: from a cache and new keys or values, (batch, groups, count, width), to the cache with them.
        """
        x = x * self.layers[SCALE].scale if SCALE in self.layers else x
        windows = {self._layer(number, "attention").window for number in range(self.depth)}
        unseen = {window: self._unseen(places, window) for window in windows}
        after: list[Any] = []
        for number in range(self.depth):
            attention = self._layer(number, "attention")
            normalized, residual = self._entered(x, number, "attention")
            query, key, value = self._in_heads(normalized, number)
            query, key = (attention.turned(one, places) for one in (query, key))
            kept = [keep(cache, new)
                    for cache, new in zip(caches[2 * number:2 * number + 2], (key, value), strict=True)]
            after += kept
            x = residual(self._layer(number, "attention", "output")(
                attention.read(query, *kept, unseen[attention.window])))
            normalized, residual = self._entered(x, number, "feed_forward")
            x = residual(self._fed(normalized, number))
        return self.layers[f"{BLOCK}_norm"](x), after

    def _unseen(self, places: Any, window: int | None) -> Any:
        """Return what is added to scores so that tokens see none behind them, and none before their window, (1 or
        batch, 1, count, length).

        Args:
            places: of the tokens, (count,) or (batch, 1, count).
        """
        ops, kept_at, own = keras.ops, np.arange(self.cache[1], dtype="int32"), places[..., None]
        hidden = kept_at > own
        if window is not None:
            hidden = ops.logical_or(hidden, kept_at <= own - window)
        added = ops.cast(hidden, "float32") * HIDDEN
        return added if len(added.shape) == 4 else added[None, None]

    def logits(self, x: Any) -> Any:
        """Return logits of what the last block gave, (1, count, vocabulary)."""
        if "logits" in self.layers:
            return self.layers["logits"](x)
        return keras.ops.matmul(x, keras.ops.transpose(self.layers["embedding"].embeddings))

    def _vectors(self, tokens: Any) -> Any:
        """Return the vectors of tokens, (1, count, units), by the operator that quantizers know: of a GATHER some leave
        the table in floats."""
        @tf.function(experimental_implements="embedding_matmul", autograph=False)
        def lookup(table: Any, ids: Any) -> Any:
            return tf.gather(table, ids)

        table = tf.convert_to_tensor(self.layers["embedding"].embeddings)
        return tf.reshape(lookup(table, tf.reshape(tokens, (-1,))), (1, tokens.shape[1], table.shape[1]))
