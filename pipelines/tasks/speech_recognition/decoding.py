"""From the answers for frames to a text: greedily, or by a beam that knows which characters follow each other."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from etils import epy

from pipelines.features.transcript import BLANK, SPACE, START

with epy.lazy_imports():
    import numpy as np

#: Characters that a frame may be are looked at from this probability on.
LEAST = 1e-3
NOTHING = -math.inf


def greedy(logits: np.ndarray) -> list[int]:
    """Return the best character of each frame, repeated ones once, blanks left out (Graves et al. 2006, section 3.2).

    Args:
        logits: (frames, characters and blank).
    """
    best = logits.argmax(axis=-1)
    changed = np.flatnonzero(np.diff(best, prepend=-1))
    return [int(number) for number in best[changed] if number != BLANK]


class CharacterModel:
    """How likely a character follows others: counts of n-grams, smoothed by those of shorter ones (Witten and Bell
    1991, as Chen and Goodman 1999 write it).

    Args:
        counts: sequences of one to n characters, and how often they occur.
        names: of the characters by number, the blank first.
    """

    def __init__(self, counts: Mapping[str, float], names: Sequence[str]):
        self.order = max(map(len, counts))
        self.names = names
        self.following: dict[str, dict[str, float]] = {}
        for sequence, count in counts.items():
            self.following.setdefault(sequence[:-1], {})[sequence[-1]] = count
        self._known: dict[tuple[str, str], float] = {}

    def score(self, text: str, letter: str) -> float:
        """Return the logarithm of the probability of a character behind a text."""
        context = (START * (self.order - 1) + text)[-(self.order - 1):] if self.order > 1 else ""
        key = context, letter
        if key not in self._known:
            self._known[key] = math.log(self._probability(context, letter))
        return self._known[key]

    def _probability(self, context: str, letter: str) -> float:
        shorter = self._probability(context[1:], letter) if context else 1 / (len(self.names) - 1)
        after = self.following.get(context)
        if after is None:
            return shorter
        total, different = sum(after.values()), len(after)
        return (after.get(letter, 0.0) + different * shorter) / (total + different)


def beam(logits: np.ndarray, width: int, model: CharacterModel | None, names: Sequence[str], *, weight: float = 0.5,
         bonus: float = 1.0) -> list[int]:
    """Return the most probable text, summed over all ways to spread it over the frames (Hannun et al. 2014, algorithm
    1).

    Args:
        logits: (frames, characters and blank).
        width: texts that are followed.
        model: what characters follow each other; nothing of it where not given.
        names: of the characters by number, the blank first.
        weight: of the model's logarithms.
        bonus: for each character, against the model's liking for few.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    scores = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    # of each text: the logarithms of its ways that end in a blank, and in its last character; and what the model says
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, NOTHING)}
    said: dict[tuple[int, ...], float] = {(): 0.0}
    texts: dict[tuple[int, ...], str] = {(): ""}
    for frame in scores:
        likely = [int(number) for number in np.flatnonzero(frame > math.log(LEAST)) if number != BLANK]
        following: dict[tuple[int, ...], tuple[float, float]] = {}
        for prefix, (blank, other) in beams.items():
            _add(following, prefix, np.logaddexp(blank, other) + frame[BLANK], NOTHING)
            if prefix:
                _add(following, prefix, NOTHING, other + frame[prefix[-1]])
            for number in likely:
                longer = (*prefix, number)
                # the same character again is another one only behind a blank
                ways = blank if prefix and prefix[-1] == number else np.logaddexp(blank, other)
                _add(following, longer, NOTHING, ways + frame[number])
                if longer not in said:
                    texts[longer] = texts[prefix] + names[number]
                    known = 0.0 if model is None else weight * model.score(texts[prefix], names[number]) + bonus
                    said[longer] = said[prefix] + known
        ordered = sorted(following, key=lambda prefix: -(np.logaddexp(*following[prefix]) + said[prefix]))
        beams = {prefix: following[prefix] for prefix in ordered[:width]}

    finals = {prefix: float(np.logaddexp(*ways)) + said[prefix] + (
        0.0 if model is None else weight * model.score(texts[prefix], SPACE)) for prefix, ways in beams.items()}
    best, _ = max(finals.items(), key=lambda pair: pair[1])
    return list(best)


def _add(beams: dict[tuple[int, ...], tuple[float, float]], prefix: tuple[int, ...], blank: float,
         other: float) -> None:
    known = beams.get(prefix, (NOTHING, NOTHING))
    beams[prefix] = (float(np.logaddexp(known[0], blank)), float(np.logaddexp(known[1], other)))
