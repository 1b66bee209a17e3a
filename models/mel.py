"""The mel scale, and the filters that sum a spectrum up along it."""
from __future__ import annotations

import math

from etils import epy

with epy.lazy_imports():
    import numpy as np

#: Slaney's scale: linear up to 1,000 Hz, 200 / 3 Hz a mel; above it grows by a factor of 6.4 in 27 mels.
LINEAR, CORNER, FACTOR = 200 / 3, 1000.0, math.log(6.4) / 27


def to_mel(hertz: float) -> float:
    """Return a frequency on Slaney's mel scale (Slaney, "Auditory Toolbox", 1998)."""
    return hertz / LINEAR if hertz < CORNER else CORNER / LINEAR + math.log(hertz / CORNER) / FACTOR


def to_hertz(mel: np.ndarray) -> np.ndarray:
    """Return frequencies out of values on Slaney's mel scale."""
    return np.where(mel < CORNER / LINEAR, mel * LINEAR, CORNER * np.exp((mel - CORNER / LINEAR) * FACTOR))


def filters(rate: int, fft: int, mels: int, lowest: float, highest: float) -> np.ndarray:
    """Return triangles that are evenly spaced on the mel scale and each have the area 2 / Hz, float32
    (fft / 2 + 1, mels).

    Args:
        rate: samples a second.
        fft: samples of the transform.
        lowest, highest: in Hz, where the first triangle begins and the last one ends.
    """
    corners = to_hertz(np.linspace(to_mel(lowest), to_mel(highest), mels + 2))
    frequencies = np.arange(fft // 2 + 1) * (rate / fft)
    rising = (frequencies[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies[:, None]) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2 / (corners[2:] - corners[:-2]))).astype("float32")


def cosines(mels: int, coefficients: int) -> np.ndarray:
    """Return the orthonormal discrete cosine transform of type II, float32 (mels, coefficients)."""
    angles = np.pi / mels * (np.arange(mels)[:, None] + 0.5) * np.arange(coefficients)
    matrix = np.cos(angles) * math.sqrt(2 / mels)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.astype("float32")
