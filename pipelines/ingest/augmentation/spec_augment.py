"""Recordings with parts of their time and of their spectrum missing."""
from __future__ import annotations

import math

from etils import epy
from pydantic import Field

from pipelines.ingest.augmentation.sound import SoundAugmentation, between

with epy.lazy_imports():
    import tensorflow as tf

#: log(1 + f / 700 Hz) is even on the mel scale (O'Shaughnessy 1987); at half the usual rate of 16 kHz it is this.
CORNER, HALF_RATE = 700.0, 8000.0
MELS = math.log(1 + HALF_RATE / CORNER)


class SpecAugment(SoundAugmentation, name="spec_augment", shorthand="bands"):
    """Stretches of time and bands of frequencies taken out (Park et al. 2019, without the warping of time).

    It changes samples, since the spectrogram is made inside the model: a stretch becomes silent, which a centred front
    end sees as the mean, and a band is cut out of the spectrum of the whole recording.

    Args:
        bands: how many are taken out of the spectrum.
        widest: of the mel scale, a band's share at most.
        stretches: how many are taken out of the time.
        longest: of the recording, a stretch's share at most.
    """

    bands: int = Field(2, ge=0, le=10)
    widest: float = Field(0.15, gt=0, le=0.5)
    stretches: int = Field(2, ge=0, le=20)
    longest: float = Field(0.05, gt=0, le=0.5)

    def change(self, samples, seed):
        count, length = tf.shape(samples)[0], samples.shape[1]
        if self.bands:
            spectrum = tf.signal.rfft(samples)
            frequencies = tf.linspace(0.0, HALF_RATE, length // 2 + 1)[None]
            mels = tf.math.log1p(frequencies / CORNER) / MELS
            kept = tf.ones_like(mels)
            for number in range(self.bands):
                kept *= self._outside(mels, self.widest, count, seed + 2 * number)
            samples = tf.signal.irfft(spectrum * tf.cast(kept, tf.complex64), [length])
        places = tf.linspace(0.0, 1.0, length)[None]
        for number in range(self.stretches):
            samples *= self._outside(places, self.longest, count, seed + 100 + 2 * number)
        return samples

    def _outside(self, places: tf.Tensor, most: float, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return 0 within an interval of a drawn length and place, and 1 outside, (batch, places)."""
        width = between(0.0, most, count, seed)
        start = between(0.0, 1.0, count, seed + 1) * (1 - width)
        return tf.cast((places < start) | (places >= start + width), tf.float32)
