"""How a token is drawn in a server's graph: of each text by settings and by a seed of its own, whatever other texts are
in the batch."""
from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf


def chances(seeds: Any, places: int) -> Any:
    """Return numbers in [0, 1) by which tokens are drawn, float32 (batch, places): those of a seed are the same on
    every machine, and however many texts there are.

    Args:
        seeds: int64 (batch,).
    """
    return tf.map_fn(lambda seed: tf.random.stateless_uniform([places], tf.stack([seed, 0]), alg="philox"), seeds,
                     fn_output_signature=tf.TensorSpec([places], tf.float32))


def drawn(logits: Any, temperature: Any, top_k: Any, top_p: Any, chance: Any) -> Any:
    """Return a token for each text, int32 (batch,).

    Logits are divided by the temperature; of the `top_k` likeliest tokens those are kept, the likeliest first, whose
    probabilities add up to `top_p` (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020, section
    3.1), at least one; of them one is drawn.

    Args:
        logits: (batch, vocabulary).
        temperature: float32 (batch,); the likeliest token is taken where it is not above 0.
        top_k: int32 (batch,); all tokens where it is not above 0.
        top_p: float32 (batch,).
        chance: in [0, 1), float32 (batch,).
    """
    values, numbers = tf.math.top_k(logits, tf.shape(logits)[1])
    rank = tf.range(tf.shape(logits)[1])
    heat = tf.where(temperature > 0, temperature, 1)[:, None]
    shares = tf.nn.softmax((values - values[:, :1]) / heat)
    within = (rank < top_k[:, None]) | (top_k <= 0)[:, None]
    shares = tf.where(within, shares, 0)
    before = tf.cumsum(shares, axis=1, exclusive=True)
    kept = (before < top_p[:, None] * tf.reduce_sum(shares, axis=1, keepdims=True)) & (shares > 0) | (rank == 0)
    ends = tf.cumsum(tf.where(kept, shares, 0), axis=1)
    passed = tf.reduce_sum(tf.cast(ends <= chance[:, None] * ends[:, -1:], tf.int32), axis=1)
    last = tf.reduce_sum(tf.cast(kept, tf.int32), axis=1) - 1
    chosen = tf.where(temperature > 0, tf.minimum(passed, last), 0)
    return tf.gather(numbers, chosen, batch_dims=1)
