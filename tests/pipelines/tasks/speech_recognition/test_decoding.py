"""Texts out of answers for frames: against all ways to spread them, and TensorFlow's decoder."""
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from pipelines.features.transcript import BLANK_NAME, ngrams
from pipelines.tasks.speech_recognition.decoding import CharacterModel, beam, greedy

NAMES = [BLANK_NAME, " ", "a", "b"]


def logits_of(frames, count, seed):
    return np.random.default_rng(seed).normal(size=(frames, count)) * 2


def collapsed(path):
    return tuple(number for number, _ in itertools.groupby(path) if number != 0)


@pytest.mark.parametrize(("best", "expected"), [
    ([0, 0, 0], []), ([2, 2, 2], [2]), ([2, 0, 2], [2, 2]), ([0, 1, 1, 0, 3, 3, 2], [1, 3, 2])])
def test_repeated_characters_count_once_and_blanks_not_at_all(best, expected):
    assert greedy(np.eye(4)[best]) == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_most_probable_text(seed):
    logits = logits_of(5, 4, seed)
    scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    sums = {}
    for path in itertools.product(range(4), repeat=5):
        text = collapsed(path)
        sums[text] = sums.get(text, 0.0) + math.exp(sum(scores[frame, number] for frame, number in enumerate(path)))
    assert tuple(beam(logits, 10_000, None, NAMES)) == max(sums, key=sums.get)


def test_without_a_model_it_is_tensorflows_beam_search():
    logits = logits_of(30, 4, 7)
    moved = np.roll(logits, -1, axis=1)[:, None].astype("float32")  # TensorFlow's blank is the last
    (decoded,), _ = tf.nn.ctc_beam_search_decoder(moved, [30], beam_width=50, top_paths=1)
    assert beam(logits, 50, None, NAMES) == [int(number) + 1 for number in decoded.values]


def test_a_model_of_characters_decides_what_sounds_alike():
    model = CharacterModel(ngrams(["ab ab", "ab"], 3), NAMES)
    logits = np.log(np.array([[0.02, 0.02, 0.94, 0.02], [0.02, 0.02, 0.46, 0.5], [0.1, 0.02, 0.86, 0.02]]))
    logits = np.insert(logits, 1, [5, 0, 0, 0], axis=0)
    logits = np.insert(logits, 3, [5, 0, 0, 0], axis=0)
    assert beam(logits, 20, None, NAMES) == [2, 3, 2]
    after_b = np.log(np.array([[0.02, 0.02, 0.94, 0.02], [0.94, 0.02, 0.02, 0.02], [0.02, 0.02, 0.5, 0.46]]))
    assert beam(after_b, 20, None, NAMES) == [2, 2]
    assert beam(after_b, 20, model, NAMES, weight=1.0, bonus=0.0) == [2, 3]


def test_probabilities_add_up_to_one():
    model = CharacterModel(ngrams(["abba ab", "ba"], 4), NAMES)
    for text in ("", "a", "ab", "abb", "zz", "bbbbb"):
        assert sum(math.exp(model.score(text, letter)) for letter in NAMES[1:]) == pytest.approx(1)


def test_what_is_counted_more_often_is_likelier():
    model = CharacterModel(ngrams(["ab"] * 9 + ["aa"], 2), NAMES)
    assert model.score("a", "b") > model.score("a", "a")


def test_silence_is_no_text():
    silent = np.zeros((20, 4))
    silent[:, 0] = 9
    assert greedy(silent) == [] and beam(silent, 8, None, NAMES) == []
