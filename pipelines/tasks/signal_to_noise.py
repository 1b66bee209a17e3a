"""How near images are to others, pixel by pixel."""
from __future__ import annotations

from etils import epy

with epy.lazy_imports():
    import numpy as np

WHITE = 255.0
#: Of images that are the same, dB.
SAME = 100.0


def signal_to_noise(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio of images 0..255 in dB, (images,), 100 at most."""
    squares = (images.astype(float) - others.astype(float)) ** 2
    error = squares.reshape(len(squares), -1).mean(axis=1)
    return np.minimum(SAME, 10 * np.log10(WHITE ** 2 / np.maximum(error, 1e-12)))
