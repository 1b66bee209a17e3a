"""Which token follows: the likeliest one, or one that is drawn, the same by the same seed in Python, Kotlin and Swift.

It needs NumPy alone, and comes in bundles as it is here: code/kotlin and code/swift do the same, line by line.
"""
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

MASK = 0xFFFFFFFF
#: Of Philox4x32: what the counter is multiplied by, and what is added to the key, round by round.
MULTIPLIERS, WEYL, ROUNDS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 10


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Args:
        temperature: logits are divided by it before one token is drawn; 0 takes the likeliest one.
        top_k: so many of the likeliest tokens are drawn from; 0 means all.
        top_p: of the likeliest tokens as few are drawn from as have this probability together (nucleus sampling;
            Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020).
        repetition_penalty: see `penalized`; 1 changes nothing.
        seed: of what is drawn, 0 to 2 ** 64 - 1.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0


def philox(key: int, counter: int) -> tuple[int, int, int, int]:
    """Return four random words of 32 bits: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
    2011).

    Args:
        key: of 64 bits, its low word first.
        counter: of 128 bits, its low word first.
    """
    words = [counter >> shift & MASK for shift in (0, 32, 64, 96)]
    keys = [key & MASK, key >> 32 & MASK]
    for _ in range(ROUNDS):
        first, second = words[0] * MULTIPLIERS[0], words[2] * MULTIPLIERS[1]
        words = [second >> 32 ^ words[1] ^ keys[0], second & MASK, first >> 32 ^ words[3] ^ keys[1], first & MASK]
        keys = [own + step & MASK for own, step in zip(keys, WEYL, strict=True)]
    return words[0], words[1], words[2], words[3]


def uniform(seed: int, number: int) -> float:
    """Return a number of 53 random bits, 0 <= u < 1, for each token of a text in turn."""
    first, second, _, _ = philox(seed, number)
    return ((first >> 5) * 2 ** 26 + (second >> 6)) / 2 ** 53


def penalized(logits: np.ndarray, text: Collection[int], penalty: float) -> np.ndarray:
    """Return logits, (vocabulary,), where tokens that a text has are less likely: a logit above 0 is divided by the
    penalty, as CTRL has it (Keskar et al., 2019), and one below multiplied by it, so that it falls too.

    Args:
        text: its tokens so far, the prompt's among them.
    """
    result = np.array(logits, np.float64)
    if penalty != 1 and text:
        known = np.unique(np.fromiter(text, np.int64))
        result[known] = np.where(result[known] > 0, result[known] / penalty, result[known] * penalty)
    return result


def candidates(logits: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens that one is drawn from, the likeliest first, and their probabilities added up, not divided by
    their sum, (tokens,) each. Of equal ones the first counts as likelier.

    Args:
        logits: (vocabulary,); those of tokens that cannot follow are -inf.
    """
    order = np.argsort(-logits, kind="stable")[:np.isfinite(logits).sum()]
    if sampling.top_k:
        order = order[:sampling.top_k]
    shares = np.cumsum(np.exp((logits[order] - logits[order[0]]) / sampling.temperature))
    if sampling.top_p < 1:
        kept = int(np.searchsorted(shares, sampling.top_p * shares[-1])) + 1
        order, shares = order[:kept], shares[:kept]
    return order, shares


def chosen(logits: np.ndarray, sampling: Sampling, number: int, *, text: Sequence[int] = (),
           never: Collection[int] = ()) -> int:
    """Return the token that follows.

    Args:
        logits: (vocabulary,).
        number: of tokens that were chosen before.
        text: its tokens so far.
        never: tokens that are not chosen.
    """
    logits = allowed(logits, sampling, text, never)
    if not sampling.temperature:
        return int(logits.argmax())
    order, shares = candidates(logits, sampling)
    place = np.searchsorted(shares, uniform(sampling.seed, number) * shares[-1], side="right")
    return int(order[min(int(place), len(order) - 1)])


def allowed(logits: np.ndarray, sampling: Sampling, text: Sequence[int], never: Collection[int]) -> np.ndarray:
    """Return logits, float64 (vocabulary,), with less for tokens that come again, and -inf for those that are not
    chosen."""
    result = penalized(logits, text, sampling.repetition_penalty)
    result[list(never)] = -np.inf
    return result
