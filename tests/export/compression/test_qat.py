"""Quantization-aware training: the file that ships is wholly integer and answers as the trained model does."""
import keras
import numpy as np
import pytest
import sklearn.datasets
import tf_keras

import models
from export.compression import qat
from export.conversion import convert
from export.predictors import LiteRTPredictor
from export.tflite import file as tflite_file
from tests.export.compression.conftest import calibration, functions

DIGITS = sklearn.datasets.load_digits()
IMAGES = np.kron((DIGITS.images * 15.9).astype("uint8")[..., None], np.ones((1, 4, 4, 3), "uint8"))
TRAIN, TEST = slice(0, 1400), slice(1400, None)


def trained(name, **settings):
    """A model that has learnt the digits at 32 pixels."""
    keras.utils.set_random_seed(1)
    model = models.build(name, input_shape=(32, 32, 3), classes=10, **settings)
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IMAGES[TRAIN].astype("float32"), DIGITS.target[TRAIN], batch_size=64, epochs=6, verbose=0)
    return model


def accuracy(logits):
    return float((logits.argmax(axis=1) == DIGITS.target[TEST]).mean())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), [
    ("resnet8", {"width": 8}),
    ("resnet20", {"width": 8}),
    ("mobilenet_v2", {"alpha": 0.35, "skip_halvings": 3}),
    ("mobilenet_v3_small", {"skip_halvings": 3, "alpha": 0.75}),
    ("efficientnet_b0", {"skip_halvings": 3, "width": 0.35, "depth": 0.5})])
def test_a_model_learns_with_its_rounding_and_ends_wholly_integer(name, settings, tmp_path):
    model = trained(name, **settings)
    reference = accuracy(model.predict(IMAGES[TEST].astype("float32"), verbose=0))
    aware = qat.prepare(model)
    aware.compile(tf_keras.optimizers.Adam(1e-4), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    aware.fit(IMAGES[TRAIN].astype("float32"), DIGITS.target[TRAIN], batch_size=64, epochs=2, verbose=0)
    qat.float_graph(aware, functions, tmp_path / "graph")
    content = convert.convert(tmp_path / "graph", "int8", calibration(IMAGES[TRAIN][:100]))
    assert not tflite_file.float_tensors(content)
    path = tmp_path / "qat.tflite"
    path.write_bytes(content)
    result = accuracy(LiteRTPredictor(path).predict({"image": IMAGES[TEST]})["logits"])
    assert reference > 0.85
    assert result >= reference - 0.01


@pytest.mark.slow
def test_the_weights_come_over_as_they_are():
    model = models.build("mobilenet_v3_small", input_shape=(32, 32, 3), classes=10, skip_halvings=3, alpha=0.35)
    kernels = [np.asarray(weight) for weight in model.weights if len(weight.shape) > 1]
    held = [weight.numpy() for weight in qat.prepare(model).weights]
    assert kernels and all(any(kernel.shape == other.shape and np.array_equal(kernel, other) for other in held)
                           for kernel in kernels)


def test_a_concatenation_keeps_the_order_of_what_it_sees():
    """A convolution and a pooling of one tensor in one concatenation, as in Inception v3: tfmot puts the pooling
    first."""
    keras.utils.set_random_seed(0)

    def branch(x, number, strides=1):
        x = keras.layers.Conv2D(4, 3, strides, padding="valid" if strides == 2 else "same", use_bias=False,
                                name=f"conv{number}")(x)
        return keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=1.0, scale=False)(x))

    inputs = keras.Input((9, 9, 4))
    x = branch(inputs, 0)
    merged = keras.layers.Concatenate()([branch(x, 1, 2), branch(branch(x, 2), 3, 2),
                                         keras.layers.MaxPooling2D(3, 2)(x)])
    model = keras.Model(inputs, keras.layers.AveragePooling2D(2)(merged))
    aware, images = qat.prepare(model), 3 * np.random.default_rng(0).random((8, 9, 9, 4)).astype("float32")
    for _ in range(200):
        aware(images, training=True)  # ranges settle; the statistics of batch normalization stay, by its momentum
    expected, rounded = np.asarray(model(images, training=False)), np.asarray(aware(images, training=False))
    assert np.abs(rounded - expected).max() < 0.1 * expected.max()


def test_concatenations_of_pieces_of_one_tensor_convert(tmp_path):
    """As in LeNet-5, whose third layer looks at some of the second's maps: the integer forms of split and
    concatenation keep the scale."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="image")
    pixels = keras.layers.Rescaling(1 / 255)(inputs)
    parts = keras.ops.split(keras.layers.Conv2D(6, 3, activation="relu")(pixels), 3, axis=-1)
    looks = [keras.layers.Conv2D(2, 3)(keras.layers.Concatenate()([parts[one], parts[other]]))
             for one, other in ((0, 1), (2, 0))]
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Concatenate()(looks)))
    aware, images = qat.prepare(model), np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3))
    for _ in range(200):
        aware(images.astype("float32"), training=True)  # ranges settle
    qat.float_graph(aware, functions, tmp_path / "graph")
    content = convert.convert(tmp_path / "graph", "int8", calibration(images.astype("uint8")))
    assert not tflite_file.float_tensors(content)
    (tmp_path / "qat.tflite").write_bytes(content)
    expected = np.asarray(model(images.astype("float32"), training=False))
    logits = LiteRTPredictor(tmp_path / "qat.tflite").predict({"image": images.astype("uint8")})["logits"]
    assert np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()


def test_a_model_takes_over_what_it_learnt_with_rounding_around_its_lstm():
    layers = keras.layers
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 4), name="x")
    x = layers.Dense(5, activation="relu", name="before")(inputs)
    x = layers.LSTM(4, name="remembers")(x)
    model = keras.Model(inputs, {"y": layers.Dense(2, name="behind")(x)})
    aware = qat.prepare(model, ["remembers"])
    given = np.random.default_rng(0).normal(size=(64, 6, 4)).astype("float32")
    aware.compile("adam", "mse")
    aware.fit({"x": given}, {"y": np.ones((64, 2), "float32")}, epochs=2, verbose=0)
    before = [weight.copy() for weight in model.get_weights()]
    qat.taken_over(model, aware)
    assert all(np.abs(new - old).max() > 0 for new, old in zip(model.get_weights(), before, strict=True))
    answered = next(iter(model.predict(given, verbose=0).values()))
    rounded = aware.predict(given, verbose=0)
    rounded = next(iter(rounded.values())) if isinstance(rounded, dict) else rounded
    assert np.abs(answered - rounded).mean() < 0.05
