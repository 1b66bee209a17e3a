"""The pairs of pictures that embeddings are measured on: as a file lists them, or drawn by a seed."""
from __future__ import annotations

import dataclasses

from etils import epy

with epy.lazy_imports():
    import numpy as np

#: What fills a row of a picture that is in fewer pairs than others.
NONE = -1


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of pictures, by their positions.

    Args:
        first, second: of each pair, int (pairs,).
        alike: whether they are of one identity, bool (pairs,).
        fold: the part that a pair belongs to, int (pairs,).
    """

    first: np.ndarray
    second: np.ndarray
    alike: np.ndarray
    fold: np.ndarray

    def where(self, kept: np.ndarray) -> Pairs:
        """Return those that a mask keeps, (pairs,)."""
        return Pairs(self.first[kept], self.second[kept], self.alike[kept], self.fold[kept])


def listed(memberships: np.ndarray, identities: np.ndarray) -> Pairs:
    """Return the pairs that a source lists.

    Args:
        memberships: which pairs each picture is in, int (pictures, most, 2): number and fold, -1 for none. A picture
            that is paired with itself has its number twice.
        identities: of the pictures, (pictures,).
    """
    owners, rows = np.nonzero(memberships[:, :, 0] != NONE)
    numbers, folds = memberships[owners, rows].T
    order = np.argsort(numbers, kind="stable")
    owners, numbers, folds = owners[order], numbers[order], folds[order]
    starts = np.flatnonzero(numbers[:-1] == numbers[1:])  # those whose other picture could not be read are left out
    first, second = owners[starts], owners[starts + 1]
    return Pairs(first, second, identities[first] == identities[second], folds[starts])


def drawn(identities: np.ndarray, most: int, folds: int, seed: int) -> Pairs:
    """Return pairs of pictures of one identity and of two, drawn by a seed, and dealt to folds at random.

    Args:
        identities: of the pictures, (pictures,).
        most: pairs of each kind, at most.
    """
    generator = np.random.default_rng(seed)
    alike, other = _alike(identities, most, generator), _other(identities, most, generator)
    first, second = np.concatenate([alike, other]).T.astype(int)
    fold = np.concatenate([generator.permutation(len(kind)) % folds for kind in (alike, other)])
    return Pairs(first, second, np.arange(len(first)) < len(alike), fold)


def _alike(identities: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Return pairs of one identity each, (pairs, 2): all where there are few, else as many of each as there are. Those
    that are not taken are counted, and never made."""
    order = np.argsort(identities, kind="stable")
    _, starts, counts = np.unique(identities[order], return_index=True, return_counts=True)
    ends = np.cumsum(counts * (counts - 1) // 2)
    total = int(ends[-1]) if len(ends) else 0
    chosen = np.arange(total) if total <= most else np.sort(generator.choice(total, most, replace=False))
    identity = np.searchsorted(ends, chosen, side="right")
    first, second = _of_triangle(chosen - (ends - counts * (counts - 1) // 2)[identity], counts[identity])
    return np.stack([order[starts[identity] + first], order[starts[identity] + second]], axis=1)


def _of_triangle(number: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of a number among the pairs of `count` things, in the order of `numpy.triu_indices`."""
    left = count * (count - 1) // 2 - 1 - number  # pairs behind it
    behind = ((np.sqrt(8.0 * left + 1) - 1) // 2).astype(int)  # whole rows behind its own
    behind -= behind * (behind + 1) // 2 > left  # what rounding may have added, or taken
    behind += (behind + 1) * (behind + 2) // 2 <= left
    return count - 2 - behind, count - 1 - (left - behind * (behind + 1) // 2)


def _other(identities: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Return different pairs of two identities each, (pairs, 2)."""
    count = len(identities)
    if count * (count - 1) // 2 <= 4 * most:
        every = np.stack(np.triu_indices(count, 1), axis=1)
    else:
        tried = np.sort(generator.integers(0, count, (8 * most, 2)), axis=1)
        every = np.unique(tried, axis=0)
    every = every[identities[every[:, 0]] != identities[every[:, 1]]]
    return every if len(every) <= most else every[np.sort(generator.choice(len(every), most, replace=False))]
