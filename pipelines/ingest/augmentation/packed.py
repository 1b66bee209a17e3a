"""Several short texts in one row of tokens, so that less of what is computed is padding."""
from __future__ import annotations

from etils import epy

from pipelines.ingest.augmentation.augmentation import Augmentation, Batch, Roles

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class Packed(Augmentation, name="packed"):
    """Texts of a batch that fit into one row stand in one: none is left out, none is cut, and a batch has fewer rows.

    For language models whose builder is told so, `model: {packed: true}`, so that texts see nothing of each other. Each
    begins with token 2; the longest come first, each into the first row with room for it (first-fit decreasing).
    """

    def apply(self, batch: Batch, seed: tf.Tensor, roles: Roles) -> Batch:
        name = next(one for one, role in roles.items() if role == "tokens")
        tokens = batch[name]
        lengths = tf.reduce_sum(tf.cast(tokens != 0, tf.int32), axis=1)
        length = tokens.shape[1]
        rows, starts = tf.numpy_function(lambda sizes: placed(sizes, length), [lengths], [tf.int32, tf.int32],
                                         stateful=False)
        rows, starts = (tf.ensure_shape(values, [None]) for values in (rows, starts))
        there = tf.sequence_mask(lengths, length)
        own = tf.cast(tf.where(there), tf.int32)  # text and place of each token
        places = tf.stack([tf.gather(rows, own[:, 0]), tf.gather(starts, own[:, 0]) + own[:, 1]], axis=1)
        count = tf.reduce_max(rows) + 1

        def moved(values: tf.Tensor) -> tf.Tensor:
            inner = values.shape[2:]
            shape = tf.concat([[count, length], tf.constant(inner.as_list(), tf.int32)], axis=0)
            result = tf.scatter_nd(places, tf.boolean_mask(values, there), shape)
            return tf.ensure_shape(result, [None, length, *inner])

        return {one: moved(values) for one, values in batch.items()}

    def misfit(self, roles: Roles) -> str | None:
        others = [one for one, role in roles.items() if role != "tokens"]
        if others or not roles:
            return f"packed is for texts of which each token is learnt, and an example has {others[0]}; leave it out"
        return None


def placed(sizes: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of each text and where it begins there, int32 (texts,) each.

    Args:
        sizes: of the texts, int32 (texts,), at most `length` each.
        length: of a row.
    """
    rows, starts = np.zeros(len(sizes), np.int32), np.zeros(len(sizes), np.int32)
    filled: list[int] = []
    for text in np.argsort(-sizes, kind="stable").tolist():
        row = next((number for number, used in enumerate(filled) if used + sizes[text] <= length), len(filled))
        if row == len(filled):
            filled.append(0)
        rows[text], starts[text] = row, filled[row]
        filled[row] += int(sizes[text])
    return rows, starts
