"""Decoders of many texts at once, as servers call them: each text has a place of its own, and what is read of it is
kept."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

from models.chunks import ChunkedDecoder

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Tokens of a text that are read at once before it is gone on with.
READ = 32


class BatchDecoder(ChunkedDecoder):
    """A model of `gpt`, `llama` or its likes that reads some tokens of each of many texts, by operators that every
    server has.

    Args:
        model: functional, of Keras 3.

    Raises:
        ValueError: it has other layers.
    """

    @property
    def cache(self) -> tuple[int, int, int]:
        """Return the shape of the keys of a block, and of its values: groups, length, width. The length is one of whole
        reads."""
        groups, length, width = super().cache
        return groups, -(-length // READ) * READ, width

    def empty(self, batch: Any) -> list[Any]:
        """Return the caches before the first token, keys and values of each block in turn, (batch, groups, length,
        width)."""
        return [tf.zeros((batch, *self.cache)) for _ in range(2 * self.depth)]

    def read(self, tokens: Any, places: Any, caches: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return what the last block makes of some tokens of each text, (batch, count, units), and the caches with
        them.

        Args:
            tokens: int32 (batch, count).
            places: of each, int32 (batch, count), within the length of a cache.
            caches: as `empty` gives them.
        """
        groups = self.cache[0]
        x = tf.gather(tf.convert_to_tensor(self.layers["embedding"].embeddings), tokens)
        if "positions" in self.layers:
            table = tf.convert_to_tensor(self.layers["positions"].embeddings)
            x = x + tf.gather(table, tf.minimum(places, self.length - 1))
        row, group = tf.range(tf.shape(places)[0])[:, None, None], np.arange(groups, dtype="int32")[:, None]
        none = tf.zeros_like(row + group + places[:, None])
        spots = tf.stack([row + none, group + none, places[:, None] + none], axis=-1)
        return self._blocks(x, places[:, None], caches,
                            lambda cache, new: tf.tensor_scatter_nd_update(cache, spots, tf.cast(new, cache.dtype)))

    def read_all(self, tokens: Any, most: Any) -> list[Any]:
        """Return the caches with the first tokens of texts, and with what stands behind them up to a whole read: it is
        not seen before it is written over.

        Args:
            tokens: int32 (batch, length), of any length.
            most: how many are read at least, int32 ().
        """
        length = self.cache[1]
        padded = tf.pad(tokens[:, :length], [[0, 0], [0, length - tf.minimum(tf.shape(tokens)[1], length)]])

        def step(start: Any, caches: Any) -> tuple[Any, ...]:
            places = start + tf.range(READ) + tf.zeros_like(padded[:, :1])
            _, after = self.read(tf.ensure_shape(padded[:, start:start + READ], (None, READ)), places, caches)
            return start + READ, after

        most = tf.minimum(most, length)
        begin = (tf.constant(0), self.empty(tf.shape(tokens)[0]))
        return tf.while_loop(lambda start, _: start < most, step, begin)[1]
