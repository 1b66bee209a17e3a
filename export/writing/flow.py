"""The steps from noise to a picture of networks that learn flows, as Stable Diffusion 3 does: noise and image are mixed
along a straight line, and the network says which way it goes.

It needs NumPy alone.
"""
from __future__ import annotations

import numpy as np


def plan(known: int, shift: float, count: int) -> np.ndarray:
    """Return what Euler's method does at each of its steps, float64 (count, 6), a column for each of
    `export.writing.diffusion.COLUMNS`; the network says the `flow`.

    Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", 2024, section 5.3.2: the
    larger pictures are, the more of the steps go where there is much noise. That of noise has `shift` as its odds'
    factor, and the first and the last of the steps have it twice, as in KerasHub and in diffusers.

    Args:
        known: steps that the model knows.
        shift: above 1 more steps have much noise.
        count: steps that are taken.
    """
    first, last = (shifted(share, shift) for share in (1.0, 1 / known))
    noises = np.append(shifted(np.linspace(first, last, count), shift), 0.0)
    keep = noises[1:] / noises[:-1]
    return np.stack([known * noises[:-1], 1 - noises[:-1], noises[:-1], keep, 1 - keep, np.zeros(count)], axis=1)


def shifted(share: np.ndarray | float, shift: float) -> np.ndarray:
    """Return the share of noise whose odds, to the image's, are `shift` times as high."""
    return np.asarray(shift * share / (1 + (shift - 1) * share))
