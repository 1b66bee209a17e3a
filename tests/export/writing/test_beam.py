"""Beam search: as wide as there are texts, it finds the best of all."""
import itertools

import numpy as np
import pytest

from export.writing import beam

VOCABULARY, END, LENGTH = 4, 3, 4
#: Of a model of which greed does not find the likeliest text.
SEED = 16


def logits_of(text):
    """Return what follows a text, of a small random model."""
    return np.random.default_rng([SEED, *text]).normal(size=VOCABULARY) * 2


def log_probability(text):
    """Return the logarithm of a text's probability, token by token."""
    total = 0.0
    for place, token in enumerate(text):
        logits = logits_of(text[:place])
        total += logits[token] - np.log(np.exp(logits).sum())
    return total


def step(rows, texts):
    return np.stack([logits_of(text) for text in texts])


def every_text():
    """Yield all texts: those with an end, and those that are as long as can be."""
    for size in range(1, LENGTH + 1):
        for text in itertools.product(range(VOCABULARY), repeat=size):
            if END not in text[:-1] and (text[-1] == END or size == LENGTH):
                yield list(text)


@pytest.mark.parametrize("score", [beam.mean, beam.by_length(0.0), beam.by_length(0.6), beam.by_length(2.0)],
                         ids=["mean", "none", "wu", "long"])
def test_a_beam_as_wide_as_there_are_texts_finds_the_best_of_all(score):
    expected = max(every_text(), key=lambda text: score(log_probability(text), len(text)))
    assert beam.search(logits_of([]), step, count=LENGTH, width=VOCABULARY ** LENGTH, end=END,
                       score=score) == expected


def test_a_beam_of_one_takes_the_likeliest_token_each_time():
    text = []
    while len(text) < LENGTH and END not in text:
        text.append(int(logits_of(text).argmax()))
    assert beam.search(logits_of([]), step, count=LENGTH, width=1, end=END) == text


def test_a_wider_beam_finds_what_is_likelier_than_greed():
    totals = [log_probability(beam.search(logits_of([]), step, count=LENGTH, width=width, score=beam.by_length(0)))
              for width in (1, 2, 64)]
    assert totals[0] <= totals[1] <= totals[2] and totals[0] < totals[2]


def test_the_penalty_of_length_is_that_of_the_paper():
    assert beam.by_length(0.6)(-3.0, 13) == pytest.approx(-3 / 3 ** 0.6)


def test_texts_that_go_on_are_named_by_those_before():
    seen = []

    def known(rows, texts):
        seen.append((list(rows), [list(text) for text in texts]))
        return step(rows, texts)

    beam.search(logits_of([]), known, count=3, width=2)
    (first_rows, first), (rows, texts) = seen
    assert first_rows == [0, 0] and [first[row] for row in rows] == [text[:-1] for text in texts]
