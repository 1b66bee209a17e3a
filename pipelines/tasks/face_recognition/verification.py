"""What the cosines of pairs say: how well those of one identity are told from those of two."""
from __future__ import annotations

import dataclasses

from etils import epy

with epy.lazy_imports():
    import numpy as np
    from sklearn import metrics as sklearn_metrics


#: Identities that are enrolled to see how near strangers are to them, and strangers' pictures, at most.
ENROLLED, ASKED = 1_000, 10_000
#: Pictures, or pairs, that are compared at once.
BLOCK = 1_024
#: A shorter vector has no direction.
SHORTEST = 1e-12


@dataclasses.dataclass(frozen=True)
class Curve:
    """Which share of the pairs is accepted from each threshold on, the highest threshold first.

    Args:
        far: false acceptances, of the pairs of two identities, (thresholds,).
        tar: true acceptances, of the pairs of one, (thresholds,).
        thresholds: a pair is accepted where its cosine is at least that; the first is above all.
    """

    far: np.ndarray
    tar: np.ndarray
    thresholds: np.ndarray

    def at_far(self, far: float) -> tuple[float, float]:
        """Return the largest share of true acceptances at which at most a share `far` of the others is accepted, and
        the threshold from which that is so."""
        last = int(np.searchsorted(self.far, far, side="right")) - 1
        return float(self.tar[last]), float(self.thresholds[last])

    @property
    def equal_error_rate(self) -> float:
        """Return the rate at which as large a share is falsely accepted as falsely rejected, between the two thresholds
        where the one overtakes the other."""
        rejected = 1.0 - self.tar
        after = int(np.argmax(self.far >= rejected))
        if after == 0:
            return float(self.far[0])
        before = after - 1
        gap = rejected[before] - self.far[before]
        closed = gap - (rejected[after] - self.far[after])
        return float(self.far[before] + gap / closed * (self.far[after] - self.far[before]))


def curve(cosines: np.ndarray, alike: np.ndarray) -> Curve:
    """Return the curve of pairs, of which there must be some of both kinds.

    Args:
        cosines: of the pairs, (pairs,).
        alike: whether a pair is of one identity, (pairs,).
    """
    far, tar, thresholds = sklearn_metrics.roc_curve(alike, cosines, drop_intermediate=False)
    thresholds[0] = np.nextafter(thresholds[1], np.inf)  # scikit-learn's is infinite, which JSON does not have
    return Curve(far, tar, thresholds)


def accuracies(cosines: np.ndarray, alike: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return the share of each fold's pairs that is judged rightly, by the threshold that is best on the other folds
    (Huang et al., "Labeled Faces in the Wild", 2007, section 3).

    Args:
        cosines, alike, fold: of the pairs, (pairs,); where all are of one fold, its threshold is found on itself.
    """
    judged = []
    for number in np.unique(fold):
        held = fold == number
        others = held if held.all() else ~held
        threshold = best_threshold(cosines[others], alike[others])
        judged.append(((cosines[held] >= threshold) == alike[held]).mean())
    return np.array(judged)


def best_threshold(cosines: np.ndarray, alike: np.ndarray) -> float:
    """Return the threshold by which most pairs are judged rightly: half way between two cosines."""
    order = np.argsort(cosines, kind="stable")
    ordered, is_alike = cosines[order], alike[order]
    # right where the first so many are judged as two identities
    right = np.concatenate([[0], np.cumsum(~is_alike)]) + np.concatenate([np.cumsum(is_alike[::-1])[::-1], [0]])
    possible = np.concatenate([[True], ordered[1:] > ordered[:-1], [True]])  # equal cosines are judged alike
    best = int(np.argmax(np.where(possible, right, -1)))
    padded = np.concatenate([[ordered[0] - 1.0], ordered, [ordered[-1] + 1.0]])
    return float((padded[best] + padded[best + 1]) / 2)


def template(embeddings: np.ndarray) -> np.ndarray:
    """Return what an identity is enrolled as: the mean direction of its embeddings of length 1, (pictures, size) to
    (size,)."""
    mean = embeddings.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), SHORTEST)  # type: ignore[no-any-return]


def of_strangers(embeddings: np.ndarray, identities: np.ndarray, seed: int) -> np.ndarray:
    """Return the cosines of pictures with the templates of identities that they are not of, each of which is made of
    all its pictures; of many, those that are drawn by a seed.

    A template is nearer to everybody than a picture is where embeddings have a direction in common, which counts the
    more, the more pictures it is made of.

    Args:
        embeddings: of length 1, (pictures, size).
        identities: (pictures,), at least two.
    """
    generator = np.random.default_rng(seed)
    known = np.unique(identities)
    enrolled = known if len(known) <= ENROLLED else generator.choice(known, ENROLLED, replace=False)
    count = len(embeddings)
    asked = np.arange(count) if count <= ASKED else generator.choice(count, ASKED, replace=False)
    templates = np.stack([template(embeddings[identities == one]) for one in enrolled])
    return (embeddings[asked] @ templates.T)[identities[asked][:, None] != enrolled]  # type: ignore[no-any-return]


def threshold_for(cosines: np.ndarray, far: float) -> float:
    """Return the threshold from which on at most a share `far` of cosines, none of which should be, is accepted."""
    allowed = int(far * len(cosines) + 1e-9)
    if allowed >= len(cosines):
        return float(cosines.min())
    place = len(cosines) - 1 - allowed
    return float(np.nextafter(np.partition(cosines, place)[place], np.inf))


def rank_1(embeddings: np.ndarray, identities: np.ndarray) -> float:
    """Return the share of pictures whose nearest enrolled one is of their identity. The first picture of each identity
    that has several is enrolled, the others are asked; NaN where there is none.

    Args:
        embeddings: of length 1, (pictures, size).
        identities: (pictures,).
    """
    known, firsts, counts = np.unique(identities, return_index=True, return_counts=True)
    enrolled = firsts[counts > 1]
    asked = np.isin(identities, known[counts > 1])
    asked[enrolled] = False
    if not asked.any():
        return float("nan")
    gallery, questions = embeddings[enrolled], np.flatnonzero(asked)
    right = 0
    for start in range(0, len(questions), BLOCK):
        some = questions[start:start + BLOCK]
        nearest = enrolled[(embeddings[some] @ gallery.T).argmax(axis=1)]
        right += int((identities[nearest] == identities[some]).sum())
    return right / len(questions)


def cosines_of(embeddings: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosines of pairs, (pairs,).

    Args:
        embeddings: of length 1, (pictures, size).
        first, second: positions of the pictures of each pair, (pairs,).
    """
    parts = [np.einsum("ij,ij->i", embeddings[first[start:start + BLOCK]], embeddings[second[start:start + BLOCK]])
             for start in range(0, len(first), BLOCK)]
    return np.concatenate([np.zeros(0, embeddings.dtype), *parts])
