"""Where a token stands in a text: learnt vectors, sines, rotations, and biases by distance."""
from __future__ import annotations

import math
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np


def sines(length: int, units: int) -> np.ndarray:
    """Return what is added to tokens for their positions, float32 (1, length, units): sines in the first half, and
    cosines in the second, as the paper's own code has it (Vaswani et al. 2017, section 3.5).

    Args:
        units: even.
    """
    angles = np.arange(length)[:, None] / 10_000 ** (np.arange(0, units, 2) / units)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[None].astype("float32")


def learned(tokens: Any, units: int, deviation: float = 0.02) -> Any:
    """Return a vector for each position, which is learnt, (length, units) (Gehring et al. 2017, section 3.1).

    Args:
        tokens: (batch, length).
        deviation: of the values to begin with.
    """
    length = tokens.shape[1]
    table = keras.layers.Embedding(length, units, name="positions",
                                   embeddings_initializer=keras.initializers.RandomNormal(stddev=deviation))
    return table(constant(tokens, np.arange(length)))


def constant(tokens: Any, values: np.ndarray) -> Any:
    """Return whole numbers as a tensor of a functional model, int32, of which there are no copies for the examples of a
    batch.

    Args:
        tokens: an input of the model, int32 (batch, length).
    """
    return keras.ops.zeros_like(tokens[0, :1]) + values.astype("int32")


def rotations(positions: Any, width: int, base: float) -> tuple[Any, Any]:
    """Return cosines and sines of the angles that the parts of queries and keys are rotated by, (…, width / 2) each (Su
    et al., "RoFormer", 2021, section 3.2.2): position p turns the i-th part by p base^(-2 i / width).

    Args:
        positions: (…,), an array of NumPy, or a tensor where they are known when the model is asked alone.
        width: of a head; even.
        base: 10,000 in the paper; more where texts are longer.
    """
    speeds = (base ** (-np.arange(0, width, 2) / width)).astype("float32")
    if isinstance(positions, np.ndarray):
        angles = positions[..., None].astype("float64") * speeds
        return np.cos(angles).astype("float32"), np.sin(angles).astype("float32")
    angles = keras.ops.expand_dims(keras.ops.cast(positions, "float32"), -1) * speeds
    return keras.ops.cos(angles), keras.ops.sin(angles)


def rotated(x: Any, cosines: Any, sines: Any) -> Any:
    """Return queries or keys, each pair of numbers (i, i + width / 2) rotated.

    The paper pairs neighbours; halves are the same with the weights' columns in another order, and what LLaMA's weights
    are published for.

    Args:
        x: (…, length, width).
        cosines, sines: of `rotations`, (length, width / 2) or more.
    """
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    cosines, sines = (keras.ops.cast(part, x.dtype) for part in (cosines, sines))
    return keras.ops.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)


def buckets(queries: int, keys: int, count: int, most: int, *, both: bool) -> np.ndarray:
    """Return which bucket the distance from each query to each key falls into, int32 (queries, keys): small ones each
    have one of their own, larger ones share by their logarithms (Raffel et al. 2020, section 2.1, and their code).

    Args:
        queries, keys: of positions from 0 on.
        count: of the buckets.
        most: all distances from here on are in the last bucket.
        both: keys may stand behind queries, and half of the buckets is for these; else they share bucket 0.
    """
    back = np.arange(queries)[:, None] - np.arange(keys)[None]
    result = np.zeros_like(back)
    if both:
        count //= 2
        result = result + np.where(back < 0, count, 0)
    distance = np.abs(back) if both else np.maximum(back, 0)
    exact = count // 2
    share = np.log(np.maximum(distance, 1).astype("float32") / exact) / math.log(most / exact)
    far = np.minimum(exact + (share * (count - exact)).astype("int32"), count - 1)
    return (result + np.where(distance < exact, distance, far)).astype("int32")


def relative(tokens: Any, numbers: np.ndarray, count: int, heads: int, name: str) -> Any:
    """Return what is added to the scores of attention for distances, which is learnt, (1, heads, queries, keys).

    Args:
        tokens: an input of the model, int32 (batch, length).
        numbers: of buckets, see `buckets`.
        count: of the buckets.
    """
    table = keras.layers.Embedding(count, heads, name=name,
                                   embeddings_initializer=keras.initializers.RandomNormal(stddev=0.05))
    return keras.ops.expand_dims(keras.ops.transpose(table(constant(tokens, numbers)), (2, 0, 1)), 0)
