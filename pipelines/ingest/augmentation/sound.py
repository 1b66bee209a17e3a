"""What augmentations of sound have in common."""
from __future__ import annotations

from etils import epy

from pipelines.ingest.augmentation.augmentation import Augmentation, Batch, Roles

with epy.lazy_imports():
    import tensorflow as tf


class SoundAugmentation(Augmentation):
    """A change of each recording's samples that leaves everything else as it is."""

    def change(self, samples: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return changed samples (batch, samples), float32 -1..1."""
        raise NotImplementedError

    def apply(self, batch: Batch, seed: tf.Tensor, roles: Roles) -> Batch:
        return {name: tf.clip_by_value(self.change(values, seed), -1.0, 1.0) if roles[name] == "waveform" else values
                for name, values in batch.items()}

    def misfit(self, roles: Roles) -> str | None:
        if "waveform" in roles.values():
            return None
        return f"{self.entry_name} changes sound, and an example has none"


def between(low: float, high: float, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return a number from low to high for each recording, (batch, 1)."""
    return tf.random.stateless_uniform([count, 1], seed, low, high)


def power(samples: tf.Tensor) -> tf.Tensor:
    """Return the mean power of recordings where they are not silent, (batch, 1); 0 of silence."""
    heard = tf.reduce_sum(tf.cast(samples != 0, tf.float32), axis=1, keepdims=True)
    return tf.math.divide_no_nan(tf.reduce_sum(tf.square(samples), axis=1, keepdims=True), heard)
