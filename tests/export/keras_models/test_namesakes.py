"""A layer and its namesake in the other library: they answer alike, or are refused by name."""
import keras
import numpy as np
import pytest
import tf_keras

from export.keras_models import bridge
from export.keras_models.load import load, load_original
from tests.export.keras_models.crossing import check, numbers


@pytest.mark.parametrize("activation",
                         ["hard_silu", "hard_sigmoid", "gelu", "silu", "relu6", "leaky_relu", "elu", "mish"])
def test_activations_mean_the_same(activation):
    inputs = keras.Input((4,))
    check(keras.Model(inputs, keras.layers.Dense(8, activation)(keras.layers.Activation(activation)(inputs))),
          4 * numbers(50, 4))


LAYERS = keras.layers
SEQUENCES = {
    "lstm": lambda x: LAYERS.LSTM(8, return_sequences=True, recurrent_activation="hard_sigmoid")(x),
    "gru": lambda x: LAYERS.GRU(8)(x), "gru, reset before": lambda x: LAYERS.GRU(8, reset_after=False)(x),
    "simple": lambda x: LAYERS.SimpleRNN(8)(x),
    "both ways": lambda x: LAYERS.Bidirectional(LAYERS.LSTM(6, return_sequences=True))(x),
    "summed": lambda x: LAYERS.Bidirectional(LAYERS.GRU(6), merge_mode="sum")(x),
    "cells": lambda x: LAYERS.RNN([LAYERS.LSTMCell(8), LAYERS.GRUCell(4)])(x),
    "step by step": lambda x: LAYERS.TimeDistributed(LAYERS.Dense(3, "relu"))(x),
    "causal": lambda x: LAYERS.Conv1D(4, 3, padding="causal")(x),
    "attention": lambda x: LAYERS.MultiHeadAttention(2, 4)(x, x)}


@pytest.mark.parametrize("name", SEQUENCES)
def test_layers_for_sequences_cross(name):
    inputs = keras.Input((7, 5))
    there, _ = check(keras.Model(inputs, SEQUENCES[name](inputs)), numbers(3, 7, 5))
    assert there.get_weights()


def test_a_state_that_is_handed_on_and_a_mask_cross():
    words = keras.Input((6,), dtype="int32")
    x, *state = LAYERS.LSTM(5, return_sequences=True, return_state=True)(LAYERS.Embedding(9, 4, mask_zero=True)(words))
    check(keras.Model(words, LAYERS.LSTM(5)(x, initial_state=state)),
          np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 1]], "int32"))


@pytest.mark.parametrize("layer", [
    LAYERS.SeparableConv2D(4, 3), LAYERS.Conv2DTranspose(4, 3, 2), LAYERS.DepthwiseConv2D(3, depth_multiplier=2),
    LAYERS.PReLU(), LAYERS.GroupNormalization(3), LAYERS.UpSampling2D(2, interpolation="bilinear"),
    LAYERS.Resizing(4, 4), LAYERS.Normalization(mean=[1.0, 2, 3], variance=[1.0, 4, 9]), LAYERS.Cropping2D(1),
    LAYERS.GlobalMaxPooling2D(keepdims=True), LAYERS.LayerNormalization(),
    LAYERS.EinsumDense("abcd,de->abce", output_shape=(None, None, 5))], ids=lambda layer: type(layer).__name__)
def test_layers_for_images_cross(layer):
    inputs = keras.Input((8, 8, 3))
    check(keras.Model(inputs, layer(inputs)), numbers(2, 8, 8, 3))


def test_a_leaky_slope_is_carried_over():
    inputs = keras.Input((4,))
    check(keras.Model(inputs, keras.layers.LeakyReLU(negative_slope=0.07)(inputs)), numbers(50, 4))


def test_the_hard_sigmoid_of_keras_2_stays_what_it_is(tmp_path):
    """x / 5 + 1 / 2 in tf_keras, x / 6 + 1 / 2 in Keras 3, both by one name."""
    tf_keras.utils.set_random_seed(1)
    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input((6, 3)), layers.LSTM(4, recurrent_activation="hard_sigmoid"),
                                 layers.Dense(4, activation="hard_sigmoid"), layers.Activation("hard_sigmoid")])
    given = 3 * numbers(20, 6, 3)
    expected = np.asarray(model(given))
    model.save(tmp_path / "two.h5")
    np.testing.assert_allclose(load_original(tmp_path / "two.h5")(given), expected, rtol=1e-6)
    loaded = load(tmp_path / "two.h5")
    np.testing.assert_allclose(loaded(given), expected, rtol=1e-5)
    loaded.save(tmp_path / "three.keras")
    again = load(tmp_path / "three.keras")
    np.testing.assert_allclose(again(given), expected, rtol=1e-5)
    np.testing.assert_allclose(bridge.to_tf_keras(again)(given), expected, rtol=1e-5)


def test_a_setting_that_the_other_side_does_not_have_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(4, lora_rank=2, name="adapted")(inputs))
    with pytest.raises(bridge.BridgeError,
                       match=r"layer adapted \(Dense\) has lora_rank = 2, which tf_keras cannot do"):
        bridge.to_tf_keras(model)


def test_a_bias_that_keras_3_adds_along_the_width_does_not_cross():
    """Keras 3 tells by their sizes which axis a bias belongs to."""
    settings = {"data_format": "channels_first", "bias_initializer": "ones", "name": "first"}
    for library, cross in ((keras, bridge.to_tf_keras), (tf_keras, bridge.to_keras)):
        inputs = library.Input((3, 6, 5))
        wide = library.Model(inputs, library.layers.Conv2D(4, 2, **settings)(inputs))
        with pytest.raises(bridge.BridgeError, match=r"layer first \(Conv2D\) has its channels first and as many of "
                                                     "them as its output is wide, 4"):
            cross(wide)
        others = [library.layers.Conv2D(4, 2, use_bias=False, **settings), library.layers.Conv2D(3, 2, **settings)]
        for layer in others:
            model, given = library.Model(inputs, layer(inputs)), numbers(2, 3, 6, 5)
            np.testing.assert_allclose(cross(model)(given), model(given), atol=1e-5)


def test_a_shared_layer_is_looked_at_in_each_of_its_places():
    shared = keras.layers.Conv1D(4, 2, data_format="channels_first", name="shared")
    long, short = keras.Input((3, 10)), keras.Input((3, 5))
    with pytest.raises(bridge.BridgeError, match=r"layer shared .* wide, 4"):
        bridge.to_tf_keras(keras.Model([long, short], [shared(long), shared(short)]))


def test_a_convolutional_lstm_as_wide_as_it_has_channels_crosses():
    inputs = keras.Input((3, 2, 6, 7))
    layer = keras.layers.ConvLSTM2D(7, 3, padding="same", return_sequences=True, data_format="channels_first")
    check(keras.Model(inputs, layer(inputs)), numbers(2, 3, 2, 6, 7))


@pytest.mark.parametrize("layer", [lambda: keras.layers.SpatialDropout1D(0.5), lambda: keras.layers.Discretization(
    bin_boundaries=[-0.5, 0.5])])
def test_layers_whose_constructors_take_their_own_settings_alone(layer):
    inputs = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    model = keras.Sequential([keras.Input((6, 3)), layer(), keras.layers.Dense(2)])
    there = bridge.to_tf_keras(model)
    np.testing.assert_allclose(there(inputs), model(inputs), atol=1e-6)
    np.testing.assert_allclose(bridge.to_keras(there)(inputs), model(inputs), atol=1e-6)


@pytest.mark.parametrize("layer", [tf_keras.layers.ThresholdedReLU(0.5), tf_keras.layers.RandomHeight(0.3),
                                   tf_keras.layers.RandomWidth(0.3)], ids=lambda layer: type(layer).__name__)
def test_layers_that_keras_2_alone_has_answer_alike(layer):
    inputs = tf_keras.Input((6, 5, 3))
    x = tf_keras.layers.GlobalAveragePooling2D()(tf_keras.layers.Conv2D(4, 2)(layer(inputs)))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(2)(x))
    given = numbers(3, 6, 5, 3)
    np.testing.assert_allclose(bridge.to_keras(model)(given), model(given, training=False), rtol=1e-5, atol=1e-6)
