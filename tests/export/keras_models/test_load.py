"""Whatever version of Keras saved a model, and in whatever number format: it answers as it does in its own library."""
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.keras_models import bridge
from export.keras_models import file as keras_file
from export.keras_models.load import load

IMAGES = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3)).astype("float32")
K = tf_keras.layers


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def head(x):
    x = K.Conv2D(6, 3, strides=2, activation="relu")(x)
    return K.Dense(4)(K.GlobalAveragePooling2D()(x))


def of_range_one(x):
    return head(x / 127.5 - 1.0)


def of_caffe(x):
    """As keras.applications.resnet.preprocess_input does it: the colours turned round, and a mean taken off."""
    return head(tf.nn.bias_add(x[..., ::-1], tf.constant([-103.939, -116.779, -123.68])))


def of_hard_swish(x):
    x = K.Conv2D(5, 3, name="Conv/first")(x * (1 / 255))
    x = K.BatchNormalization(name="Conv/BatchNorm")(x)
    return head(x * tf.nn.relu6(x + 3.0) / 6.0)


def of_augmentation(x):
    x = K.RandomFlip("horizontal")(x)
    x = K.RandomRotation(0.1)(x)
    x = K.RandomZoom(0.1)(x)
    return head(K.RandomContrast(0.1)(K.Rescaling(1 / 255)(x)))


def of_several_functions(x):
    x = K.Conv2D(8, 3, padding="same")(x / 255)
    pooled = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
    x = tf.image.resize(x * tf.sigmoid(pooled), (8, 8))
    first, second = x[..., :4], tf.math.abs(x[:, :, :, 4:])
    return head(tf.concat([first, tf.math.maximum(second, 0.1)], axis=-1))


@pytest.mark.parametrize("network", [of_range_one, of_caffe, of_hard_swish, of_augmentation, of_several_functions])
@pytest.mark.parametrize("name", ["model.h5", pytest.param("model", marks=pytest.mark.slow)])
def test_what_keras_2_has_between_and_in_its_layers_comes_over(network, name):
    tf_keras.utils.set_random_seed(3)
    inputs = K.Input((16, 16, 3))
    made = tf_keras.Model(inputs, network(inputs))
    made.save(name)
    model = load(Path(name))
    expected = np.asarray(made(IMAGES, training=False))
    np.testing.assert_allclose(model(IMAGES, training=False), expected, atol=1e-5 * np.abs(expected).max())
    assert not any("/" in layer.name for layer in model.layers)
    keras_file.save(model, Path("again.keras"))
    again = keras_file.load(Path("again.keras"))
    np.testing.assert_array_equal(model(IMAGES, training=False), again(IMAGES, training=False))
    there = bridge.to_tf_keras(again)
    np.testing.assert_allclose(there(IMAGES, training=False), expected, atol=1e-5 * np.abs(expected).max())
    back = bridge.to_keras(there)
    np.testing.assert_allclose(back(IMAGES, training=False), expected, atol=1e-5 * np.abs(expected).max())


def test_a_keras_file_of_keras_2_is_read_by_keras_2():
    inputs = K.Input((16, 16, 3))
    made = tf_keras.Model(inputs, head(K.Rescaling(1 / 255)(inputs)))
    made.save("model.keras")
    np.testing.assert_allclose(load(Path("model.keras"))(IMAGES), made(IMAGES), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "DenseNet121",
                                  "ResNet50", "ResNet50V2", "NASNetMobile", "Xception", "ConvNeXtTiny",
                                  "RegNetX002", "EfficientNetV2B0", "InceptionResNetV2"])
def test_the_applications_of_keras_2_come_over(name):
    tf_keras.utils.set_random_seed(3)
    side = 75 if name in ("Xception", "InceptionResNetV2") else 64
    made = getattr(tf_keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=7)
    images = np.random.default_rng(0).uniform(0, 255, (4, side, side, 3)).astype("float32")
    made.save("model.h5")
    expected = np.asarray(made(images, training=False))
    np.testing.assert_allclose(load(Path("model.h5"))(images, training=False), expected, atol=1e-5 * expected.max())


def network(dtype):
    """Return a model trained a little in a number format."""
    keras.utils.set_random_seed(5)
    keras.config.set_dtype_policy(dtype)
    try:
        inputs = keras.Input((16, 16, 3))
        inner = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 3, activation="relu"),
                                  keras.layers.BatchNormalization()], name="inner")
        x = keras.layers.GlobalAveragePooling2D()(inner(keras.layers.Rescaling(1 / 255)(inputs)))
        model = keras.Model(inputs, keras.layers.Dense(4)(x))
        model.compile("adam", "mse")
        model.fit(IMAGES, np.eye(4, dtype="float32")[np.arange(8) % 4], epochs=2, verbose=0)
        return model
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(("dtype", "precision"), [
    ("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2), ("float16", 2e-3), ("bfloat16", 2e-2), ("float64", 1e-5)])
def test_a_model_of_another_number_format_is_made_float32(dtype, precision):
    made = network(dtype)
    made.save("model.keras")
    model = load(Path("model.keras"))
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in model._flatten_layers()} == {"float32"}
    answered, expected = np.asarray(model(IMAGES)), np.asarray(keras.ops.cast(made(IMAGES), "float32"))
    assert answered.dtype == "float32"
    np.testing.assert_allclose(answered, expected, atol=precision * np.abs(expected).max())


def test_a_model_that_keras_quantized_gets_the_weights_that_its_integers_stand_for():
    keras.utils.set_random_seed(5)
    inputs = keras.Input((12,))
    x = keras.layers.Dense(32, activation="relu")(inputs)
    made = keras.Model(inputs, keras.layers.Dense(4)(x))
    values = np.random.default_rng(0).normal(size=(50, 12)).astype("float32")
    before = np.asarray(made(values))
    kernels = [layer.get_weights()[0] for layer in made.layers if layer.weights]
    made.quantize("int8")
    made.save("model.keras")
    model = load(Path("model.keras"))
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    for kernel, layer in zip(kernels, (one for one in model.layers if one.weights), strict=True):
        assert np.abs(layer.get_weights()[0] - kernel).max() <= np.abs(kernel).max() / 127 / 2 * 1.01
    np.testing.assert_allclose(model(values), made(values), atol=0.03 * np.abs(before).max())
