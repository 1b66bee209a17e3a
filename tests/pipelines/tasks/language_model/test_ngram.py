"""Counts of n-grams, against Witten and Bell's formula worked out one context at a time."""
import collections

import numpy as np
import pytest

from pipelines.tasks.language_model import ngram


def by_hand(learnt: list[int], context: tuple[int, ...], token: int, vocabulary: int) -> float:
    """Return the probability of a token behind a context, by the recursion of the paper."""
    shorter = by_hand(learnt, context[1:], token, vocabulary) if context else 1 / vocabulary
    size = len(context)
    after = collections.Counter(learnt[place + size] for place in range(len(learnt) - size)
                                if tuple(learnt[place:place + size]) == context)
    total, different = sum(after.values()), len(after)
    return (after[token] + different * shorter) / (total + different) if total else shorter


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_are_those_of_the_formula(order):
    generator = np.random.default_rng(3)
    learnt, asked = generator.integers(0, 5, 300), generator.integers(0, 6, 60)  # token 5 is never learnt
    expected = [by_hand(learnt.tolist(), tuple(asked[max(0, place - order + 1):place].tolist()), int(token), 6)
                for place, token in enumerate(asked)]
    np.testing.assert_allclose(ngram.probabilities(learnt, asked, order, 6), expected, rtol=1e-12)


def test_probabilities_of_all_tokens_add_up_to_one():
    learnt = np.random.default_rng(5).integers(0, 4, 200)
    texts = [np.array([1, 2, 3, 0, token]) for token in range(4)]
    assert sum(ngram.probabilities(learnt, text, 5, 4)[-1] for text in texts) == pytest.approx(1, abs=1e-12)
