"""Recurrent layers by gathers against Keras with masks."""
import keras
import numpy as np
import pytest

from models.recurrent import lengths, recurrent

TIME, FEATURES = 7, 3


def masked(cell, units, bidirectional, sequences):
    """Return Keras' own model of the same layers, under Masking."""
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[cell]
    inputs = keras.Input((TIME, FEATURES))
    x = keras.layers.Masking(mask_value=0.0)(inputs)
    for number, width in enumerate(units, 1):
        one = layer(width, return_sequences=sequences or number < len(units))
        x = (keras.layers.Bidirectional(one) if bidirectional else one)(x)
    return keras.Model(inputs, x)


def made_in_turn(model):
    """Return the recurrent layers of a model in the order in which they were made."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    return sorted(layers, key=lambda layer: (len(layer.name), layer.name))


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_answers_as_keras_does_under_a_mask_at_every_length(cell, bidirectional, sequences):
    units = (5, 4)
    inputs, length = keras.Input((TIME, FEATURES)), keras.Input((), dtype="int32")
    model = keras.Model([inputs, length], recurrent(inputs, cell=cell, units=units, length=length,
                                                    bidirectional=bidirectional, sequences=sequences))
    reference = masked(cell, units, bidirectional, sequences)
    weights = iter(reference.get_weights())
    for layer in made_in_turn(model):
        layer.set_weights([next(weights) for _ in layer.weights])
    rng = np.random.default_rng(1)
    x = rng.normal(size=(TIME, TIME, FEATURES)).astype("float32")
    there = np.tri(TIME, dtype=bool)  # the lengths 1 to TIME
    expected = np.asarray(reference(np.where(there[..., None], x, 0)))
    answers = np.asarray(model([np.where(there[..., None], x, 99), np.arange(1, TIME + 1, dtype="int32")]))
    if sequences:
        expected, answers = expected[there], answers[there]
    np.testing.assert_allclose(answers, expected, atol=1e-6)


def test_one_sequence_of_a_fixed_batch_is_computed_as_many_are():
    inputs, length = keras.Input(batch_shape=(1, TIME, 2)), keras.Input(batch_shape=(1,), dtype="int32")
    one = keras.Model([inputs, length], recurrent(inputs, units=(3,), length=length, bidirectional=True))
    many_inputs, many_length = keras.Input((TIME, 2)), keras.Input((), dtype="int32")
    many = keras.Model([many_inputs, many_length],
                       recurrent(many_inputs, units=(3,), length=many_length, bidirectional=True))
    for source, target in zip(made_in_turn(one), made_in_turn(many), strict=True):
        target.set_weights(source.get_weights())
    x = np.random.default_rng(2).normal(size=(1, TIME, 2)).astype("float32")
    for count in (1, 4, TIME):
        given = [x, np.array([count], "int32")]
        np.testing.assert_allclose(np.asarray(one(given)), np.asarray(many(given)), atol=1e-6)


def test_lengths_count_tokens_before_the_padding_and_at_least_one():
    tokens = keras.Input((4,), dtype="int32")
    model = keras.Model(tokens, lengths(tokens))
    counted = model(np.array([[5, 6, 0, 0], [7, 8, 9, 1], [0, 0, 0, 0]], "int32"))
    assert np.asarray(counted).tolist() == [2, 4, 1]


def test_a_saved_model_is_loaded_with_its_layers(tmp_path):
    tokens = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(10, 3)(tokens)
    model = keras.Model(tokens, recurrent(x, units=(2,), length=lengths(tokens), bidirectional=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    given = np.array([[5, 6, 0, 0]], "int32")
    np.testing.assert_array_equal(np.asarray(loaded(given)), np.asarray(model(given)))
