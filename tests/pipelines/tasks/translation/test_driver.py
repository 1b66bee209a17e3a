"""Greedy and beam search, on a decoder whose probabilities are known."""
import numpy as np

from pipelines.features.tokenizers.tokenizer import END
from pipelines.tasks.translation import driver

A, B, C = 4, 5, 6


class Known:
    """A decoder of a small tree: A is likelier than B at first, but what follows B is surer."""

    following = {(): {A: 0.6, B: 0.4}, (A,): {C: 0.4, A: 0.3, END: 0.3}, (B,): {END: 1.0}, (A, C): {END: 1.0},
                 (A, A): {END: 1.0}}

    def begin(self, inputs):
        return {"written": np.zeros((len(inputs["tokens"]), 0), int)}

    def step(self, token, state):
        written = np.concatenate([state["written"], token[:, None]], axis=1)
        logits = np.full((len(token), 7), -1e9)
        for row, text in enumerate(written[:, 1:].tolist()):
            for following, share in self.following[tuple(text)].items():
                logits[row, following] = np.log(share)
        return logits, {"written": written}


INPUTS = {"tokens": np.ones((2, 1), int)}


def test_greed_takes_the_likeliest_token_each_time():
    np.testing.assert_array_equal(driver.greedy(Known(), INPUTS, 5), [[A, C, END, 0, 0]] * 2)


def test_a_beam_finds_the_text_with_the_best_mean():
    # B, end: log 0.4 / 2 = -0.458; A, C, end: log 0.24 / 3 = -0.476; A, end: log 0.18 / 2
    np.testing.assert_array_equal(driver.beam(Known(), INPUTS, 5, 3), [[B, END, 0, 0, 0]] * 2)


def test_nothing_is_longer_than_there_is_room_for():
    assert driver.greedy(Known(), INPUTS, 1).tolist() == [[A], [A]]
    assert driver.beam(Known(), INPUTS, 1, 2).tolist() == [[A], [A]]
