"""Recordings as in a room."""
from __future__ import annotations

import math

from etils import epy
from pydantic import Field

from pipelines.ingest.augmentation.sound import SoundAugmentation, between, power

with epy.lazy_imports():
    import tensorflow as tf

#: A reverberation has faded when it has 60 decibels less: an amplitude of a thousandth.
FADED = math.log(1000)


class Reverberation(SoundAugmentation, name="reverberation", shorthand="seconds"):
    """Sound with the echoes of a room: noise that fades exponentially (Moorer 1979), as loud as before.

    Args:
        seconds: until echoes have faded by 60 decibels, at most.
        loudest: the echoes' share of the sound's power, at most.
        rate: samples a second, as data.audio.rate has it.
    """

    seconds: float = Field(0.3, gt=0, le=3)
    loudest: float = Field(0.5, gt=0, lt=1)
    rate: int = Field(16_000, ge=1000)

    def change(self, samples, seed):
        count, length = tf.shape(samples)[0], samples.shape[1]
        steps = max(2, round(self.seconds * self.rate))
        time = tf.range(1, steps + 1, dtype=tf.float32)[None] / self.rate
        fading = between(0.1 * self.seconds, self.seconds, count, seed)
        echoes = tf.random.stateless_normal([count, steps], seed + 1) * tf.exp(-FADED * time / fading)
        share = between(0.0, self.loudest, count, seed + 2)
        energy = tf.reduce_sum(tf.square(echoes), axis=1, keepdims=True)
        echoes *= tf.sqrt(share / (1 - share) / energy)
        size = 2 ** math.ceil(math.log2(length + steps))
        response = tf.concat([tf.ones([count, 1]), echoes], axis=1)
        heard = tf.signal.irfft(tf.signal.rfft(samples, [size]) * tf.signal.rfft(response, [size]), [size])[:, :length]
        return heard * tf.sqrt(tf.math.divide_no_nan(power(samples), power(heard)))
