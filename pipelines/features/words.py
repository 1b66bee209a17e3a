"""Words and their numbers, in the input pipeline as in a served graph: no table that a module would have to keep."""
from __future__ import annotations

from collections.abc import Sequence

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Hashes are spread over so many buckets; 64 bits less the sign.
BUCKETS = 2**63 - 1


def positions(texts: tf.Tensor, words: Sequence[str]) -> tf.Tensor:
    """Return where each text stands among the words, counted from 0, and -1 of those that are not among them.

    The words' fingerprints are sorted and searched, so a batch of n texts takes n log(words) steps, and the graph holds
    constants alone.

    Args:
        texts: string, of any shape.
        words: all different.

    Returns:
        int32, of the shape of `texts`.
    """
    if not words:
        return tf.fill(tf.shape(texts), -1)
    encoded = np.array([word.encode() for word in words], object)
    with tf.init_scope():  # at once, where a graph is being traced too
        fingerprints = tf.strings.to_hash_bucket_fast(encoded, BUCKETS).numpy()
    order = np.argsort(fingerprints, kind="stable")
    flat = tf.reshape(texts, [-1])
    near = tf.searchsorted(tf.constant(fingerprints[order]), tf.strings.to_hash_bucket_fast(flat, BUCKETS))
    near = tf.minimum(near, len(words) - 1)
    same = tf.gather(tf.constant(encoded[order]), near) == flat
    found = tf.where(same, tf.gather(tf.constant(order.astype("int32")), near), -1)
    return tf.ensure_shape(tf.reshape(found, tf.shape(texts)), texts.shape)


def of_numbers(values: tf.Tensor) -> tf.Tensor:
    """Return numbers as text: whole ones without a point, and nothing, "", of what is not a number."""
    if not values.dtype.is_floating:
        return tf.strings.as_string(values)
    whole = values == tf.floor(values)
    text = tf.where(whole, tf.strings.as_string(tf.cast(tf.where(whole, values, 0), tf.int64)),
                    tf.strings.as_string(values, shortest=True))
    return tf.where(values == values, text, "")
