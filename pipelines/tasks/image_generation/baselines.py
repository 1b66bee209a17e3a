"""Simple models of pixels, in the same bits as a variational autoencoder, and pictures that are drawn of them: each
pixel by itself, and a mixture of normal distributions."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import scipy.special
    import scipy.stats
    from sklearn import mixture as mixtures

FACTORIZED, MIXTURE, TRAINING = "factorized_pixels", "gaussian_mixture", "training_images"
NAMES = (FACTORIZED, MIXTURE, TRAINING)
LEVELS = 256
#: How much of a level's probability is spread evenly over all, so that none has none: what is best on validation.
SPREAD = (1e-4, 1e-3, 1e-2, 3e-2, 0.1)
COMPONENTS, ROUNDS, SEED = 50, 50, 0
#: Squared levels that are added to variances, so that a pixel which is always black has one.
VARIANCES = (1.0, 10.0)
#: Images whose probabilities are computed at once.
AT_ONCE = 64


class Simple(NamedTuple):
    """A simple model: the bits per number of the test images, and as many pictures as there are of these, uint8."""

    bits: float
    pictures: np.ndarray


def factorized(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> Simple:
    """Return a model in which each pixel has a distribution of its own over its 256 levels, counted on the training
    images.

    Args:
        train, validation, test: uint8 (images, height, width, channels). Validation images choose how much is spread.
    """
    rows = train.reshape(len(train), -1)
    counts = np.zeros((rows.shape[1], LEVELS))
    for level in range(LEVELS):
        counts[:, level] = (rows == level).sum(axis=0)
    shares = counts / len(rows)

    def bits(images: np.ndarray, spread: float) -> float:
        columns = images.reshape(len(images), -1)
        known = shares[np.arange(columns.shape[1]), columns]
        return float(-np.log2((1 - spread) * known + spread / LEVELS).mean())

    generator = np.random.default_rng(SEED)
    pictures = np.stack([generator.choice(column, len(test)) for column in rows.T], axis=1)
    best = min(SPREAD, key=lambda spread: bits(validation, spread))
    return Simple(bits(test, best), pictures.reshape(test.shape))


def mixture(train: np.ndarray, validation: np.ndarray, test: np.ndarray, components: int = COMPONENTS) -> Simple:
    """Return a mixture of normal distributions with a variance for each pixel, as scikit-learn fits it: a level's
    probability is what lies within half a level of it, and of the first and the last one all that lies beyond.

    Args:
        train, validation, test: uint8 (images, height, width, channels). Validation images choose how much variance is
            added, and how much is spread.
    """
    rows = train.reshape(len(train), -1).astype(np.float32)
    best, result = math.inf, None
    for variance in VARIANCES:
        model = mixtures.GaussianMixture(min(components, len(rows)), covariance_type="diag", reg_covar=variance,
                                max_iter=ROUNDS, random_state=SEED).fit(rows)
        for spread, on_validation in zip(SPREAD, _bits(model, validation), strict=True):
            if on_validation < best:
                best, result = on_validation, (model, spread)
    assert result is not None
    drawn = result[0].sample(len(test))[0]
    pictures = np.clip(np.round(drawn), 0, LEVELS - 1).astype(np.uint8).reshape(test.shape)
    return Simple(_bits(result[0], test, [result[1]])[0], pictures)


def _bits(model: mixtures.GaussianMixture, images: np.ndarray, spreads: Sequence[float] = SPREAD) -> list[float]:
    """Return the bits per number of images, for each share of a level's probability that is spread."""
    columns = images.reshape(len(images), -1).astype(float)
    deviations = np.sqrt(model.covariances_)
    totals = np.zeros(len(spreads))
    for start in range(0, len(columns), AT_ONCE):
        block = columns[start:start + AT_ONCE, None]
        above = np.where(block == LEVELS - 1, 1.0, scipy.special.ndtr((block + 0.5 - model.means_) / deviations))
        below = np.where(block == 0, 0.0, scipy.special.ndtr((block - 0.5 - model.means_) / deviations))
        for place, spread in enumerate(spreads):
            known = np.log((1 - spread) * np.maximum(above - below, 0) + spread / LEVELS).sum(axis=2)
            totals[place] += scipy.special.logsumexp(known + np.log(model.weights_), axis=1).sum()
    return (-totals / (math.log(2) * columns.size)).tolist()
