"""How likely a token follows others: counts of n-grams, smoothed by those of shorter ones (Witten and Bell 1991, as
Chen and Goodman 1999 write it), over whole texts at once."""
from __future__ import annotations

from etils import epy

with epy.lazy_imports():
    import numpy as np

#: Of a context that was never seen.
UNSEEN = -1


def probabilities(learnt: np.ndarray, asked: np.ndarray, order: int, vocabulary: int) -> np.ndarray:
    """Return how likely each token of a text is behind those before it, (tokens,), float64: at every place the
    probabilities of all tokens add up to 1.

    p(w | c) = (n(c w) + d(c) p(w | c')) / (n(c) + d(c)), where n counts, d(c) is how many different tokens follow c, c'
    is c without its first token, and all tokens are as likely behind nothing known.

    Args:
        learnt: tokens of the text that is counted.
        asked: tokens of the text that is looked at; its first ones have shorter contexts.
        order: tokens of the longest sequences.
        vocabulary: how many tokens there are.
    """
    result = np.full(len(asked), 1 / vocabulary)
    contexts = np.zeros(len(learnt), np.int64)  # the number of the context of each token; 0 where it is nothing
    contexts_asked, different_contexts = np.zeros(len(asked), np.int64), 1
    for _ in range(order):
        there = contexts != UNSEEN
        pairs, own, counts = np.unique(contexts[there] * vocabulary + learnt[there], return_inverse=True,
                                       return_counts=True)
        total = np.bincount(pairs // vocabulary, counts, different_contexts)
        different = np.bincount(pairs // vocabulary, minlength=different_contexts)

        known = np.flatnonzero((contexts_asked != UNSEEN) & (total[contexts_asked] > 0))
        context = contexts_asked[known]
        numbers = _numbers(pairs, context * vocabulary + asked[known])
        count = np.where(numbers == UNSEEN, 0, counts[numbers])
        result[known] = (count + different[context] * result[known]) / (total[context] + different[context])

        # what a token and its context are is the longer context of the token behind it
        contexts[there] = own
        contexts = np.concatenate([[UNSEEN], contexts[:-1]])
        following = np.full(len(asked), UNSEEN)
        following[known] = numbers
        contexts_asked = np.concatenate([[UNSEEN], following[:-1]])
        different_contexts = len(pairs)
    return result


def _numbers(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the places of values among sorted ones; UNSEEN where they are not there."""
    places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.where(known[places] == asked, places, UNSEEN)
