"""Noise by a seed, against TensorFlow's own generator."""
import numpy as np
import pytest
import tensorflow as tf

from export.writing import noise, sampling

SEEDS = [(0, 0), (7, 0), (1, 2), (2 ** 32, 5), (2 ** 63 - 1, 0), (123456789012345, 2 ** 40 + 3)]


@pytest.mark.parametrize("seed", SEEDS)
def test_words_are_tensorflows_bit_for_bit(seed):
    expected = tf.random.stateless_uniform([1001], tf.constant(seed, tf.int64), None, None, tf.uint32, alg="philox")
    np.testing.assert_array_equal(noise.words(seed, 1001), expected.numpy())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 28, 28, 1), (100_001,)])
def test_normal_numbers_are_tensorflows_within_5e_6(seed, shape):
    expected = tf.random.stateless_normal(shape, tf.constant(seed, tf.int64), alg="philox").numpy()
    made = noise.normal(seed, shape)
    assert made.dtype == np.float32 and made.shape == shape
    np.testing.assert_allclose(made, expected, rtol=0, atol=5e-6)


def test_fewer_pictures_are_the_first_of_more():
    np.testing.assert_array_equal(noise.normal((7, 0), (3, 5)), noise.normal((7, 0), (16, 5))[:3])


def test_the_words_of_a_counter_are_those_that_texts_are_drawn_by():
    counters = np.array([[1, 2, 3, 4], [0xFFFFFFFF, 0, 7, 0]], np.uint64)
    key = (0xDEADBEEF, 0x12345678)
    whole = [sum(int(word) << 32 * place for place, word in enumerate(counter)) for counter in counters]
    expected = [sampling.philox(key[0] | key[1] << 32, one) for one in whole]
    np.testing.assert_array_equal(noise.philox(counters, key), expected)


def test_keras_draws_the_same_by_a_whole_number():
    import keras

    np.testing.assert_allclose(noise.normal((7, 0), (4, 4)), keras.random.normal((4, 4), seed=7), rtol=0, atol=5e-6)
