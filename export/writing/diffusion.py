"""Pictures out of noise, step by step: the sampler of diffusion models, which asks a file what to take away.

It needs NumPy alone.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

#: How fast an image drowns in noise, and what a network says of a noisy one.
Schedule = Literal["cosine", "linear"]
Target = Literal["velocity", "noise", "image"]
#: From noisy images and the step that they are at to what a network says of them.
Denoise = Callable[[np.ndarray, int], np.ndarray]
#: Of the cosine schedule: what keeps its first steps from vanishing, and the most that a step may take away.
OFFSET, MOST = 0.008, 0.999
#: Of the linear schedule over 1,000 steps: its first and its last.
FIRST, LAST = 1e-4, 0.02


def signal(steps: int, schedule: Schedule) -> np.ndarray:
    """Return how much of an image is left at each step, as the square of its factor, float64 (steps + 1,): 1 at 0,
    nearly nothing at the last.

    `cosine` is Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, equation 17; `linear` is
    Ho et al., "Denoising Diffusion Probabilistic Models", 2020, section 4.
    """
    if schedule == "linear":
        taken = np.minimum(np.linspace(FIRST, LAST, steps) * 1000 / steps, MOST)
    else:
        left = np.cos((np.arange(steps + 1) / steps + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2
        taken = np.minimum(1 - left[1:] / left[:-1], MOST)
    return np.concatenate([[1.0], np.cumprod(1 - taken)])


def times(steps: int, count: int) -> np.ndarray:
    """Return the steps that a sampler takes of all, from the last to 0, int64 (count + 1,)."""
    return np.round(np.linspace(steps, 0, count + 1)).astype(int)


def noisy(image: np.ndarray, noise: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return images, -1..1, with noise.

    Args:
        left: of the image, see `signal`, (batch,).
    """
    left = left.reshape(-1, *(1,) * (image.ndim - 1))
    return (np.sqrt(left) * image + np.sqrt(1 - left) * noise).astype(np.float32)


def parts(said: np.ndarray, x: np.ndarray, left: float, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, -1..1, and the noise that noisy images are made of, by what a network says of them.

    The velocity is sqrt(left) noise - sqrt(1 - left) image (Salimans & Ho, "Progressive Distillation", 2022).
    """
    signals, noises = math.sqrt(left), math.sqrt(1 - left)
    if target == "velocity":
        image = signals * x - noises * said
    elif target == "image":
        image = said
    else:
        image = (x - noises * said) / max(signals, 1e-6)
    image = np.clip(image, -1, 1)
    return image, (x - signals * image) / max(noises, 1e-6)


def ddim(denoise: Denoise, noise: np.ndarray, left: np.ndarray, count: int, target: Target) -> np.ndarray:
    """Return pictures, -1..1, of noise: Song et al., "Denoising Diffusion Implicit Models", 2021, equation 12, without
    noise on the way.

    Args:
        noise: (batch, height, width, channels).
        left: see `signal`.
        count: steps that are taken.
    """
    x = noise.astype(np.float32)
    taken = times(len(left) - 1, count)
    for step, after in zip(taken[:-1].tolist(), taken[1:].tolist(), strict=True):
        image, added = parts(denoise(x, step), x, float(left[step]), target)
        x = (math.sqrt(left[after]) * image + math.sqrt(1 - left[after]) * added).astype(np.float32)
    return x


def guided(with_condition: np.ndarray, without: np.ndarray, guidance: float) -> np.ndarray:
    """Return what is said of noisy images by what a network says with a condition and without one (Ho & Salimans,
    "Classifier-Free Diffusion Guidance", 2022): 1 is with it alone, above it is exaggerated."""
    return without + guidance * (with_condition - without)
