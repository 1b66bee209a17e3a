"""How far pictures are from real ones as a whole: distances between two sets of features."""
from __future__ import annotations

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import scipy.linalg
    from scipy.spatial import distance

#: The neighbour whose distance is the radius of a picture's surroundings, as in the paper.
NEIGHBOUR = 3
#: Rows that are compared with all others at once.
AT_ONCE = 1024


def frechet(features: np.ndarray, real: np.ndarray) -> float:
    """Return the Fréchet distance between the normal distributions of two sets of features (Heusel et al., "GANs
    Trained by a Two Time-Scale Update Rule", 2017): |m - n|^2 + tr(C + D - 2 sqrt(C D)).

    It depends on how many there are: compare those of equally many alone.

    Args:
        features, real: (examples, features), at least two of each.
    """
    means = features.mean(axis=0, dtype=float), real.mean(axis=0, dtype=float)
    one, other = (np.atleast_2d(np.cov(values, rowvar=False, dtype=float)) for values in (features, real))
    # the eigenvalues of C D are those of a symmetric matrix: sqrt(C) D sqrt(C)
    values, vectors = scipy.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    crossed = np.sqrt(np.maximum(scipy.linalg.eigvalsh(root @ other @ root), 0)).sum()
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(one) + np.trace(other) - 2 * crossed)


def kernel(features: np.ndarray, real: np.ndarray) -> float:
    """Return the squared maximum mean discrepancy of two sets of features under the kernel (x y / d + 1)^3, unbiased:
    the kernel distance (Bińkowski et al., "Demystifying MMD GANs", 2018). Of one distribution it is 0 on average,
    however many there are."""
    def mean(one: np.ndarray, other: np.ndarray, same: bool) -> float:
        total = sum(float((((rows @ other.T) / one.shape[1] + 1) ** 3).sum()) for rows in _blocks(one))
        if not same:
            return total / (len(one) * len(other))
        own = float((((one * one).sum(axis=1) / one.shape[1] + 1) ** 3).sum())
        return (total - own) / (len(one) * (len(one) - 1))

    first, second = features.astype(float), real.astype(float)
    return mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, False)


def precision_and_recall(features: np.ndarray, real: np.ndarray, neighbour: int = NEIGHBOUR) -> tuple[float, float]:
    """Return which share of pictures lies among the real ones, and which share of the real ones among the pictures
    (Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019): within the
    distance of one of them to its third neighbour of its own kind."""
    return _within(features, real, neighbour), _within(real, features, neighbour)


def nearest(features: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Return of each row the numbers of the nearest known ones, the nearest first, (rows, count)."""
    ordered = [np.argsort(distance.cdist(rows, known), axis=1, kind="stable")[:, :count] for rows in _blocks(features)]
    return np.concatenate(ordered)


def _within(asked: np.ndarray, known: np.ndarray, neighbour: int) -> float:
    place = min(neighbour, len(known) - 1)  # of a sorted row the first is the example itself
    radii = np.concatenate([np.partition(distance.cdist(rows, known), place, axis=1)[:, place]
                            for rows in _blocks(known)])
    inside = [(distance.cdist(rows, known) <= radii).any(axis=1) for rows in _blocks(asked)]
    return float(np.concatenate(inside).mean())


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return [values[start:start + AT_ONCE] for start in range(0, len(values), AT_ONCE)]
