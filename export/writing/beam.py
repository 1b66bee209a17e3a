"""Beam search: the best of several texts that are followed at once.

It needs NumPy alone, and comes in bundles as it is here: code/kotlin and code/swift do the same, line by line.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: From the places of the texts that go on among those of the call before, and these texts, to the logits of what
#: follows each, (texts, vocabulary); -inf for tokens that cannot follow.
Step = Callable[[Sequence[int], Sequence[Sequence[int]]], np.ndarray]


def mean(total: float, size: int) -> float:
    """Return the mean logarithm of the probabilities of a text's tokens, which scores it."""
    return total / max(size, 1)


def by_length(alpha: float) -> Callable[[float, int], float]:
    """Return the score of a text from the logarithm of its probability and its size: divided by ((5 + size) / 6) **
    alpha (Wu et al., "Google's Neural Machine Translation System", 2016)."""
    return lambda total, size: total / ((5 + size) / 6) ** alpha


def search(logits: np.ndarray, step: Step, *, count: int, width: int, end: int | None = None,
           score: Callable[[float, int], float] = mean) -> list[int]:
    """Return the tokens of the best text that is found, the end among them where it has one.

    Args:
        logits: of the first token, (vocabulary,).
        count: tokens of a text at most.
        width: texts that are followed.
        end: the token that ends a text.
        score: from the logarithm of a text's probability and its size.
    """
    texts: list[list[int]] = [[]]
    totals = np.zeros(1)
    done: list[tuple[float, list[int]]] = []
    logits = logits[None]
    for number in range(count):
        sums = totals[:, None] + _log_softmax(logits)
        order = np.argsort(-sums, axis=None, kind="stable")[:min(width, np.isfinite(sums).sum())]
        kept: list[tuple[int, list[int], float]] = []
        for row, token in zip(*np.unravel_index(order, sums.shape), strict=True):
            text, total = [*texts[row], int(token)], float(sums[row, token])
            if token == end:
                done.append((score(total, len(text)), text))
            else:
                kept.append((int(row), text, total))
        if not kept or len(done) >= width:
            break
        texts, totals = [text for _, text, _ in kept], np.array([total for *_, total in kept])
        if number + 1 < count:
            logits = step([row for row, *_ in kept], texts)
    done += [(score(float(total), len(text)), text) for total, text in zip(totals, texts, strict=True)
             if len(text) == count or not done]
    return max(done, key=lambda pair: pair[0])[1]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
