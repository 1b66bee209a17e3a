"""The activation at the end of a model is found wherever it is, and what is left gives the same answer as logits."""
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.keras_models import ends, imported
from export.keras_models.load import load
from export.keras_models.pixels import SCALING, wrong_range
from export.predictors import LiteRTPredictor
from export.tflite import edit
from export.tflite import file as tflite_file

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype("uint8")
L = keras.layers


def sequential(*layers, shape=(8, 8, 3), name=None):
    return keras.Sequential([keras.Input(shape), *layers], name=name)


def features():
    return sequential(L.Conv2D(6, 3, activation="relu"), L.GlobalAveragePooling2D())


def functional(end):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, end(features()(inputs)))


def teachable_machine(last="softmax", units=3):
    head = sequential(L.Dense(10, activation="relu"), L.Dense(units, use_bias=False, activation=last), shape=(6,))
    return sequential(features(), head)


def three_deep():
    head = sequential(L.Dense(5), L.Softmax(), shape=(6,), name="head")
    whole = sequential(features(), head, name="whole")
    return functional_of(whole)


def functional_of(model):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, model(inputs))


def with_temperature(x):
    return L.Softmax()(L.Rescaling(1 / 2.5)(L.Dense(4)(x)))


#: Models that end in a softmax, each in another way.
SOFTMAX = {
    "in the last layer": lambda: functional(L.Dense(4, activation="softmax")),
    "Activation": lambda: functional(lambda x: L.Activation("softmax")(L.Dense(4)(x))),
    "in float32 behind mixed precision": lambda: functional(lambda x: L.Activation("softmax", dtype="float32")(
        L.Dense(4)(x))),
    "a linear Activation behind it": lambda: functional(lambda x: L.Activation("linear")(L.Softmax()(L.Dense(4)(x)))),
    "keras.ops": lambda: functional(lambda x: keras.ops.softmax(L.Dense(4)(x))),
    "keras.activations": lambda: functional(lambda x: keras.activations.softmax(L.Dense(4)(x))),
    "in an inner Sequential": teachable_machine, "three models deep": three_deep,
    "Reshape behind it": lambda: functional(lambda x: L.Reshape((4,))(L.Softmax()(L.Reshape((1, 4))(L.Dense(4)(x))))),
    "Dropout behind it": lambda: functional(lambda x: L.Dropout(0.5)(L.Dense(4, activation="softmax")(x))),
    "a temperature before it": lambda: functional(with_temperature),
    "of a convolution": lambda: functional_of(sequential(
        L.Conv2D(4, 8, activation="softmax"), L.Reshape((4,))))}


@pytest.mark.parametrize("name", SOFTMAX)
def test_a_softmax_is_taken_off_wherever_it_is(name):
    keras.utils.set_random_seed(2)
    made = SOFTMAX[name]()
    assert ends.ending(made) == "softmax"
    values = IMAGES.astype("float32")
    logits = np.asarray(imported.classifier(made, "0..255")(values)["logits"])
    np.testing.assert_allclose(tf.nn.softmax(logits), made(values), atol=1e-5)
    assert ends.ending(made) == "softmax", "the model itself stays as it was"
    assert np.ptp(logits.sum(axis=-1)) > 1e-3, "logits, whose sum is nothing in particular"


@pytest.mark.parametrize("last", ["sigmoid", None])
@pytest.mark.parametrize("inside", [False, True])
def test_one_unit_is_two_classes(last, inside):
    keras.utils.set_random_seed(2)
    made = teachable_machine(last, 1) if inside else functional(L.Dense(1, activation=last))
    values = IMAGES.astype("float32")
    model = imported.classifier(made, "0..255")
    (logits,) = keras.tree.flatten(model(values))
    assert logits.shape == (12, 2)
    second = np.asarray(tf.nn.softmax(logits))[:, 1]
    expected = np.asarray(made(values))[:, 0]
    np.testing.assert_allclose(second, expected if last else tf.sigmoid(expected), atol=1e-5)


def test_one_channel_is_two_classes_of_each_pixel():
    made = sequential(L.Conv2D(4, 3, padding="same", activation="relu"), L.Conv2D(1, 1, activation="sigmoid"))
    values = IMAGES.astype("float32")
    (logits,) = keras.tree.flatten(imported.classifier(made, "0..255", dense=True)(values))
    np.testing.assert_allclose(np.asarray(tf.nn.softmax(logits))[..., 1:], made(values), atol=1e-5)


def test_a_sigmoid_for_each_of_many_is_taken_off_too():
    made = teachable_machine("sigmoid", 5)
    values = IMAGES.astype("float32")
    logits = imported.classifier(made, "0..255")(values)["logits"]
    np.testing.assert_allclose(tf.sigmoid(logits), made(values), atol=1e-6)


@pytest.mark.parametrize("end", [
    lambda x: L.Dense(4)(x), lambda x: L.Dense(4, activation="relu")(x),
    lambda x: L.Softmax(axis=1)(L.Reshape((2, 2))(L.Dense(4)(x))),
    lambda x: L.Dense(4)(L.Softmax()(L.Dense(5)(x)))])
def test_what_is_no_softmax_at_the_end_stays(end):
    made = functional(end)
    assert ends.ending(made) == "logits" and ends.without_activation(made) is made


@pytest.mark.parametrize(("last", "units"), [("softmax", 4), ("sigmoid", 1), ("sigmoid", 4), (None, 1), (None, 4)])
def test_the_end_of_a_tflite_file_is_the_same(last, units, tmp_path):
    keras.utils.set_random_seed(2)
    made = teachable_machine(last, units)
    path = tmp_path / "model.tflite"
    path.write_bytes(edit.normalized(tf.lite.TFLiteConverter.from_keras_model(tf_keras_of(made)).convert(),
                                     *SCALING["0..255"]))
    assert not {"SOFTMAX", "LOGISTIC"} & set(tflite_file.operators(path.read_bytes()))
    answered = LiteRTPredictor(path).predict({"image": IMAGES})["logits"]
    (expected,) = keras.tree.flatten(imported.classifier(made, "0..255")(IMAGES.astype("float32")))
    np.testing.assert_allclose(answered, expected, atol=1e-4)


def tf_keras_of(model):
    from export.keras_models import bridge

    return bridge.to_tf_keras(model)


def test_pixels_of_another_range_are_noticed_by_a_batch_normalization_inside():
    """As in a transfer-learning model: the network that learnt on -1..1 is a layer of another."""
    keras.utils.set_random_seed(4)
    norm = L.BatchNormalization(axis=-1)
    base = sequential(L.Conv2D(8, 3), norm, L.ReLU(), L.GlobalAveragePooling2D())
    made = sequential(base, L.Dense(4))
    scaled = IMAGES / np.float32(127.5) - 1
    seen = np.asarray(keras.Model(base.inputs, base.layers[0].output)(scaled)).reshape(-1, 8)
    norm.moving_variance.assign(seen.var(axis=0))
    norm.moving_mean.assign(seen.mean(axis=0))
    assert wrong_range(made, "-1..1", IMAGES) == ""
    assert re.match(r"the model seems to have learnt on pixels (-1\.\.1|0\.\.1), not 0\.\.255: what its layer "
                    "batch_normalization", wrong_range(made, "0..255", IMAGES))


def test_teachable_machines_file_gives_logits(tmp_path):
    """Its layout: a Keras 2 .h5 of a Sequential of two Sequentials, the softmax in the second."""
    k = tf_keras.layers
    base = tf_keras.Sequential([k.InputLayer((8, 8, 3)), k.Conv2D(6, 3, activation="relu"),
                                k.GlobalAveragePooling2D()])
    head = tf_keras.Sequential([k.InputLayer((6,)), k.Dense(10, activation="relu"),
                                k.Dense(3, use_bias=False, activation="softmax")])
    made = tf_keras.Sequential([k.InputLayer((8, 8, 3)), base, head])
    made.save(tmp_path / "keras_model.h5")
    logits = imported.classifier(load(tmp_path / "keras_model.h5"), "-1..1")(IMAGES.astype("float32"))["logits"]
    np.testing.assert_allclose(tf.nn.softmax(logits), made(IMAGES / np.float32(127.5) - 1), atol=1e-5)
