"""Pictures out of noise, step by step: the samplers of diffusion models, which ask a file what to take away.

It needs NumPy alone, and comes in bundles as it is here: the code in Kotlin, Swift and JavaScript does the same, line
by line.
"""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

#: How fast an image drowns in noise, and what a network says of a noisy one.
Schedule = Literal["cosine", "linear"]
Target = Literal["velocity", "noise", "image", "flow"]
#: How one gets from noise to an image.
Sampler = Literal["ddim", "dpm_solver"]
#: From noisy images and the step that they are at, a whole number but of flows, to what a network says of them.
Denoise = Callable[[np.ndarray, Any], np.ndarray]
#: Of the cosine schedule: what keeps its first steps from vanishing, and the most that a step may take away.
OFFSET, MOST = 0.008, 0.999
#: What a sampler's step is made of: the number of the step, the shares of image and noise that its noisy image has, and
#: how much of that, of the image that it is made of, and of the one of the step before there is in the next.
COLUMNS = ("step", "signal", "noise", "keep", "image", "before")
#: Of the linear schedule over 1,000 steps: its first and its last.
FIRST, LAST = 1e-4, 0.02


@dataclasses.dataclass(frozen=True)
class Original:
    """Images, or latents, that others are made of.

    Args:
        images: (batch, height, width, channels).
        strength: the share of the sampler's steps that are taken, 0..1: the fewer, the more is left of the images
            (Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations", 2022).
        mask: (batch, height, width, 1), 1 where images are made anew and 0 where they are kept: there each step begins
            with the original and its noise (Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion
            Probabilistic Models", 2022, equation 8); None where nothing is kept.
    """

    images: np.ndarray
    strength: float = 1.0
    mask: np.ndarray | None = None


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


def image_of(said: np.ndarray, x: np.ndarray, signals: float, noises: float, target: Target,
             most: float = 1.0) -> np.ndarray:
    """Return the image, -1..1, or the latent that noisy ones are made of, by what a network says of them.

    The velocity is signals * noise - noises * image (Salimans & Ho, "Progressive Distillation", 2022), the flow is
    noise - image, where their shares are 1 together (see flow.py).

    Args:
        signals, noises: the shares of the image and of the noise.
        most: what it may be at most, and less what at least.
    """
    if target == "velocity":
        image = signals * x - noises * said
    elif target == "image":
        image = said
    elif target == "flow":
        image = x - noises * said
    else:
        image = (x - noises * said) / max(signals, 1e-6)
    return np.clip(image, -most, most)


def plan(left: np.ndarray, count: int, sampler: Sampler) -> np.ndarray:
    """Return what a sampler does at each of its steps, float64 (count, 6), a column for each of COLUMNS.

    `ddim` is Song et al., "Denoising Diffusion Implicit Models", 2021, equation 12, without noise on the way;
    `dpm_solver` is DPM-Solver++ (2M) of Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion
    Probabilistic Models", 2022, algorithm 2: it draws a line through this step's image and that of the step before,
    over half the logarithm of signal to noise. Its first step, and its last, which has no noise left, are DDIM's.

    Args:
        left: see `signal`.
        count: steps that are taken, 1 to all that are known.
    """
    taken = times(len(left) - 1, count)
    signals, noises = np.sqrt(left[taken]), np.sqrt(1 - left[taken])
    keep = noises[1:] / noises[:-1]
    image = signals[1:] - keep * signals[:-1]
    before = np.zeros(count)
    if sampler == "dpm_solver" and count > 2:
        ratios = np.log(signals[:-1] / noises[:-1])
        past, ahead = np.diff(ratios)[:-1], np.diff(ratios)[1:]
        before[1:-1] = -image[1:-1] * ahead / (2 * past)
        image = image - before
    return np.stack([taken[:-1], signals[:-1], noises[:-1], keep, image, before], axis=1)


def sampled(denoise: Denoise, noise: np.ndarray, steps: np.ndarray, target: Target, most: float = 1.0,
            original: Original | None = None) -> np.ndarray:
    """Return pictures, -1..1, or latents, of noise.

    Args:
        noise: (batch, height, width, channels).
        steps: see `plan`.
        most: see `image_of`.
        original: what they are made of, beside noise.
    """
    x = noise.astype(np.float32)
    if original is not None:
        steps = later(steps, original.strength)
        x = _at(steps, 0, original, noise)
    last = np.zeros_like(x)
    for number, (step, signals, noises, keep, share, before) in enumerate(steps.tolist()):
        said = denoise(x, step if target == "flow" else int(step))
        image = image_of(said, x, signals, noises, target, most)
        x = (keep * x + share * image + before * last).astype(np.float32)
        if original is not None and original.mask is not None:
            x = np.where(original.mask > 0, x, _at(steps, number + 1, original, noise))
        last = image
    return x


def later(steps: np.ndarray, strength: float) -> np.ndarray:
    """Return the last steps of a plan, as many as a strength says. The first of them has none before it, so it is
    DDIM's."""
    count = round(len(steps) * float(np.float32(strength)))  # as graphs have it
    taken = steps[len(steps) - count:].copy()
    if count:
        taken[0, COLUMNS.index("image")] += taken[0, COLUMNS.index("before")]
        taken[0, COLUMNS.index("before")] = 0
    return taken


def _at(steps: np.ndarray, number: int, original: Original, noise: np.ndarray) -> np.ndarray:
    """Return originals as noisy as they are before a step of a plan; without noise behind the last."""
    signals, noises = steps[number, 1:3] if number < len(steps) else (1.0, 0.0)
    return (signals * original.images + noises * noise).astype(np.float32)


def guided(with_condition: np.ndarray, without: np.ndarray, guidance: float) -> np.ndarray:
    """Return what is said of noisy images by what a network says with a condition and without one (Ho & Salimans,
    "Classifier-Free Diffusion Guidance", 2022): 1 is with it alone, above it is exaggerated."""
    return without + guidance * (with_condition - without)
