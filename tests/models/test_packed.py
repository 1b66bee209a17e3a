"""Several texts in a row see nothing of each other: losses are those of each text alone."""
import timeit

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models.packed import START, places_of, texts_of

LENGTH, VOCABULARY = 24, 30


def built(builder, length=LENGTH, **settings):
    keras.utils.set_random_seed(3)
    model = models.build(builder, length=length, vocabulary=VOCABULARY, depth=2, units=32, heads=4, dropout=0.0,
                         packed=True, **settings)
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(0, 0.3, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


@pytest.fixture
def texts():
    generator = np.random.default_rng(2)
    return [np.array([START, *generator.integers(4, VOCABULARY, size)], "int32") for size in (8, 5, 7)]


def losses(model, rows, training):
    """Return how surprised a model is by each token of rows, but for the last, (rows, length - 1)."""
    logits = model(rows, training=training)["logits"]
    return np.array(keras.losses.sparse_categorical_crossentropy(rows[:, 1:], logits[:, :-1], from_logits=True))


@pytest.mark.parametrize(("builder", "settings"), [("gpt", {}), ("llama", {}), ("llama", {"groups": 2})])
def test_losses_are_those_of_each_text_alone(builder, settings, texts):
    model = built(builder, **settings)
    row = np.zeros((1, LENGTH), "int32")
    row[0, :sum(map(len, texts))] = np.concatenate(texts)
    together, seen = losses(model, row, True)[0], losses(model, row, False)[0]
    begin = 0
    for text in texts:
        alone = np.zeros((1, LENGTH), "int32")
        alone[0, :len(text)] = text
        expected = losses(model, alone, False)[0, :len(text) - 1]
        np.testing.assert_allclose(together[begin:begin + len(text) - 1], expected, rtol=1e-4, atol=1e-5)
        if begin:  # without the mask it is another number
            assert np.abs(seen[begin:begin + len(text) - 1] - expected).max() > 0.01
        begin += len(text)


def test_positions_begin_anew_with_each_text():
    tokens = np.array([[2, 5, 6, 2, 7, 2, 8, 9, 0]], "int32")
    assert np.array(texts_of(tokens)).tolist() == [[1, 1, 1, 2, 2, 3, 3, 3, 3]]
    assert np.array(places_of(tokens)).tolist() == [[0, 1, 2, 0, 1, 0, 1, 2, 3]]


def test_a_model_of_one_text_is_the_same_with_and_without_it():
    packed = built("gpt")
    plain = models.build("gpt", length=LENGTH, vocabulary=VOCABULARY, depth=2, units=32, heads=4, dropout=0.0)
    plain.set_weights(packed.get_weights())
    rows = np.random.default_rng(5).integers(3, VOCABULARY, (2, LENGTH)).astype("int32")
    assert np.array_equal(packed(rows)["logits"], plain(rows)["logits"])


@pytest.mark.timed
def test_a_model_of_one_text_takes_no_longer_with_it_in_a_graph():
    """What it adds to scores is then 0, a constant, which TensorFlow would add up with the mask."""
    rows = tf.constant(np.random.default_rng(5).integers(3, VOCABULARY, (4, 256)), tf.int32)
    packed = built("gpt", 256)
    plain = models.build("gpt", length=256, vocabulary=VOCABULARY, depth=2, units=32, heads=4, dropout=0.0)
    plain.set_weights(packed.get_weights())
    seconds = []
    for model in (packed, plain):
        call = tf.function(model)
        call(rows)
        seconds.append(min(timeit.repeat(lambda call=call: call(rows), number=1, repeat=9)))
    assert seconds[0] < 3 * seconds[1]
