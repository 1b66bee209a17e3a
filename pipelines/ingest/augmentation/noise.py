"""Noise behind recordings."""
from __future__ import annotations

from etils import epy
from pydantic import Field, model_validator

from pipelines.ingest.augmentation.sound import SoundAugmentation, between, power

with epy.lazy_imports():
    import tensorflow as tf

#: How steeply noise falls with frequency: its power goes with 1 / f to this power, 0 of white and 2 of brown noise.
STEEPEST = 2.0


class Noise(SoundAugmentation, name="noise", shorthand="quietest"):
    """Noise of a colour from white to brown, at a signal-to-noise ratio that is drawn in decibels. Silence stays so.

    Args:
        loudest, quietest: the ratios, in decibels, that the noise is drawn between.
        share: of the recordings; the others stay as they are, so that a model knows silence too that is wholly silent.
    """

    loudest: float = Field(10.0, ge=-20, le=100)
    quietest: float = Field(30.0, ge=-20, le=100)
    share: float = Field(0.5, gt=0, le=1)

    @model_validator(mode="after")
    def the_loudest_is_below_the_quietest(self) -> Noise:
        if self.loudest > self.quietest:
            raise ValueError(f"the loudest noise is at {self.loudest:g} dB and the quietest at {self.quietest:g}: a "
                             "ratio of few decibels is loud noise, give it as loudest")
        return self

    def change(self, samples, seed):
        count, length = tf.shape(samples)[0], samples.shape[1]
        white = tf.random.stateless_normal([count, length], seed)
        exponent = between(0.0, STEEPEST, count, seed + 1)
        bins = tf.range(1, length // 2 + 2, dtype=tf.float32)[None]
        spectrum = tf.signal.rfft(white) * tf.cast(tf.pow(bins, -exponent / 2), tf.complex64)
        noise = tf.signal.irfft(spectrum, [length])
        noise /= tf.sqrt(tf.reduce_mean(tf.square(noise), axis=1, keepdims=True)) + 1e-12
        ratio = between(self.loudest, self.quietest, count, seed + 2)
        chosen = tf.cast(between(0.0, 1.0, count, seed + 3) < self.share, tf.float32)
        return samples + chosen * noise * tf.sqrt(power(samples) * tf.pow(10.0, -ratio / 10))
