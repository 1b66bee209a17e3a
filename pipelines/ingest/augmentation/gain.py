"""Recordings that are louder or quieter."""
from __future__ import annotations

from etils import epy
from pydantic import Field

from pipelines.ingest.augmentation.sound import SoundAugmentation, between

with epy.lazy_imports():
    import tensorflow as tf


class Gain(SoundAugmentation, name="gain", shorthand="decibels"):
    """Sound made louder or quieter by up to so many decibels; what is then beyond full scale is cut off there.

    Args:
        decibels: in either direction.
    """

    decibels: float = Field(6.0, gt=0, le=60)

    def change(self, samples, seed):
        return samples * tf.pow(10.0, between(-self.decibels, self.decibels, tf.shape(samples)[0], seed) / 20)
