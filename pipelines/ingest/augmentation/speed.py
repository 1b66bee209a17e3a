"""Recordings that are faster or slower."""
from __future__ import annotations

from etils import epy
from pydantic import Field

from pipelines.ingest.augmentation.sound import SoundAugmentation, between

with epy.lazy_imports():
    import tensorflow as tf


class Speed(SoundAugmentation, name="speed", shorthand="share"):
    """Sound played faster or slower by up to a share, higher or lower with it (Ko et al. 2015), between neighbouring
    samples in a straight line. What becomes longer than the recording is cut off at its end.

    Args:
        share: in either direction: 0.1 plays at 0.9 to 1.1 of the speed.
    """

    share: float = Field(0.1, gt=0, le=0.5)

    def change(self, samples, seed):
        length = samples.shape[1]
        rate = between(1 - self.share, 1 + self.share, tf.shape(samples)[0], seed)
        place = tf.range(length, dtype=tf.float32)[None] * rate
        before = tf.cast(place, tf.int32)
        weight = place - tf.floor(place)
        padded = tf.pad(samples, [[0, 0], [0, 2]])
        first, second = (tf.gather(padded, tf.minimum(before + step, length + 1), batch_dims=1) for step in (0, 1))
        return first * (1 - weight) + second * weight
