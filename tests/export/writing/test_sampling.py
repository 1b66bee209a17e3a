"""How tokens are drawn: known answers of the generator, closed forms, and distributions."""
import numpy as np
import pytest
from scipy import stats

from export.writing import sampling
from export.writing.sampling import Sampling

LOGITS = np.log(np.array([0.05, 0.4, 0.2, 0.3, 0.05]))


@pytest.mark.parametrize(("key", "counter", "expected"), [
    (0, 0, (0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8)),
    (2 ** 64 - 1, 2 ** 128 - 1, (0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd)),
    (0x299f31d0_a4093822, 0x03707344_13198a2e_85a308d3_243f6a88, (0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1))])
def test_philox_gives_the_known_answers_of_its_authors(key, counter, expected):
    """Random123's kat_vectors."""
    assert sampling.philox(key, counter) == expected


def test_philox_gives_what_tensorflow_does():
    import tensorflow as tf

    for seed in (1, 2 ** 40 + 7):
        words = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[40], key=tf.constant([seed], tf.uint64), counter=tf.constant([0, 0], tf.uint64), alg=1,
            dtype=tf.uint32).numpy()
        assert words.tolist() == [word for number in range(10) for word in sampling.philox(seed, number)]


def test_numbers_are_uniform_and_those_of_other_seeds_are_others():
    numbers = np.array([sampling.uniform(3, number) for number in range(5000)])
    assert stats.kstest(numbers, "uniform").pvalue > 0.01 and numbers.min() >= 0 and numbers.max() < 1
    assert sampling.uniform(3, 0) != sampling.uniform(4, 0)


@pytest.mark.parametrize(("settings", "expected"), [
    ({}, [0.05, 0.4, 0.2, 0.3, 0.05]),
    ({"temperature": 2.0}, np.sqrt([0.05, 0.4, 0.2, 0.3, 0.05])),
    ({"top_k": 2}, [0, 0.4, 0, 0.3, 0]),
    ({"top_p": 0.75}, [0, 0.4, 0.2, 0.3, 0]),
    ({"top_k": 3, "top_p": 0.5}, [0, 0.4, 0, 0.3, 0])])
def test_draws_have_the_probabilities_of_the_settings(settings, expected):
    how = Sampling(**{"temperature": 1.0, "seed": 11, **settings})
    drawn = np.bincount([sampling.chosen(LOGITS, how, number) for number in range(4000)], minlength=5)
    shares = np.array(expected) / np.sum(expected)
    assert set(np.flatnonzero(drawn)) == set(np.flatnonzero(shares))
    there = shares > 0
    assert stats.chisquare(drawn[there], 4000 * shares[there]).pvalue > 0.01


@pytest.mark.parametrize(("settings", "expected"), [
    ({"top_k": 1}, [1]), ({"top_k": 3}, [1, 3, 2]), ({"top_k": 9}, [1, 3, 2, 0, 4]), ({"top_p": 1e-9}, [1]),
    ({"top_p": 0.4001}, [1, 3]), ({"top_p": 0.9001}, [1, 3, 2, 0]), ({"top_p": 1.0}, [1, 3, 2, 0, 4]),
    ({"top_k": 2, "top_p": 0.6}, [1, 3])])
def test_the_sets_that_are_drawn_from(settings, expected):
    """Of equal tokens the first counts as likelier. Of the two of top_k 2, the first has 4/7, less than 0.6."""
    order, shares = sampling.candidates(LOGITS, Sampling(temperature=1.0, **settings))
    assert order.tolist() == expected
    np.testing.assert_allclose(np.diff(shares, prepend=0) * 0.4, np.exp(LOGITS)[expected], rtol=1e-12)


def test_tokens_that_come_again_are_penalized():
    logits = np.array([2.0, -1.0, 0.5, 0.0])
    np.testing.assert_array_equal(sampling.penalized(logits, [0, 1, 1], 1.6), [1.25, -1.6, 0.5, 0.0])
    np.testing.assert_array_equal(sampling.penalized(logits, [0, 1], 1.0), logits)
    np.testing.assert_array_equal(logits, [2.0, -1.0, 0.5, 0.0])
    how = Sampling(repetition_penalty=5)
    assert [sampling.chosen(logits, how, 0, text=text) for text in ([], [0], [0, 2])] == [0, 2, 0]


def test_what_is_barred_is_never_chosen():
    assert sampling.chosen(LOGITS, Sampling(), 0, never=[1]) == 3
    how = Sampling(temperature=50.0)
    assert {sampling.chosen(LOGITS, how, number, never=[0, 1, 2]) for number in range(60)} == {3, 4}


def test_no_temperature_takes_the_likeliest_token_and_a_small_one_nearly_always():
    assert sampling.chosen(LOGITS, Sampling(), 0) == 1
    assert {sampling.chosen(LOGITS, Sampling(temperature=0.01), number) for number in range(50)} == {1}
