"""Recordings that begin earlier or later."""
from __future__ import annotations

from etils import epy
from pydantic import Field

from pipelines.ingest.augmentation.sound import SoundAugmentation, between

with epy.lazy_imports():
    import tensorflow as tf


class TimeShift(SoundAugmentation, name="time_shift", shorthand="share"):
    """Sound moved to and fro by up to a share of its length, with silence where nothing is left.

    Args:
        share: of the recording, in either direction.
    """

    share: float = Field(0.1, gt=0, lt=1)

    def change(self, samples, seed):
        count, length = tf.shape(samples)[0], samples.shape[1]
        by = tf.cast(tf.round(between(-self.share, self.share, count, seed) * length), tf.int32)
        taken = tf.range(length)[None] - by
        inside = (taken >= 0) & (taken < length)
        return tf.where(inside, tf.gather(samples, tf.clip_by_value(taken, 0, length - 1), batch_dims=1), 0.0)
