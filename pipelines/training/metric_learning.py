"""Losses on distances between the examples of a batch."""
from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras


def batch_hard_triplet(targets: Any, embeddings: Any, margin: float) -> Any:
    """Return how much farther each example's farthest likeness is than its nearest other, plus a margin, if at all.

    Hermans, Beyer & Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, equation 5.

    Args:
        targets: (batch, classes), one-hot.
        embeddings: (batch, units).
        margin: a distance.

    Returns:
        (batch,). Zero for an example without likeness or without other in its batch.
    """
    distances, same, itself = _pairs(targets, embeddings)
    alike, other = same - itself, 1.0 - same
    farthest = keras.ops.max(distances * alike, -1)
    nearest = keras.ops.min(distances + 1e9 * same, -1)
    complete = keras.ops.max(alike, -1) * keras.ops.max(other, -1)
    return complete * keras.ops.relu(farthest - nearest * keras.ops.max(other, -1) + margin)


def contrastive(targets: Any, embeddings: Any, margin: float) -> Any:
    """Return squared distances to likenesses and squared shortfalls of the margin to others, averaged over the batch.

    Hadsell, Chopra & LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", 2006, equation 4, over all
    pairs.

    Args:
        targets: (batch, classes), one-hot.
        embeddings: (batch, units).
        margin: a distance.

    Returns:
        (batch,).
    """
    distances, same, itself = _pairs(targets, embeddings)
    pulled = (same - itself) * keras.ops.square(distances)
    pushed = (1.0 - same) * keras.ops.square(keras.ops.relu(margin - distances))
    others = keras.ops.maximum(keras.ops.sum(1.0 - itself, -1), 1.0)
    return keras.ops.sum(pulled + pushed, -1) / 2 / others


def _pairs(targets: Any, embeddings: Any) -> tuple[Any, Any, Any]:
    """Return distances between all pairs, whether they are of one class, and whether they are one example.

    Each is (batch, batch).
    """
    difference = embeddings[:, None] - embeddings[None]
    squared = keras.ops.sum(keras.ops.square(difference), -1)
    apart = keras.ops.cast(squared > 0, squared.dtype)
    distances = apart * keras.ops.sqrt(squared + (1.0 - apart))  # the root has no gradient at zero
    same = keras.ops.matmul(targets, keras.ops.transpose(targets))
    itself = keras.ops.eye(keras.ops.shape(embeddings)[0], dtype=distances.dtype)
    return distances, keras.ops.cast(same, distances.dtype), itself
