"""Cross-layer equalization leaves the function as it is, and heals a network that one scale per tensor breaks."""
import keras
import numpy as np
import pytest

from export.compression import equalize
from export.conversion import convert
from export.predictors import LiteRTPredictor
from tests.export.compression.conftest import calibration, functions

IMAGES = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3)).astype("uint8")


def depthwise_network(limit=None, unbalanced=1.0):
    """A separable network whose channels have ranges up to `unbalanced` times apart; what the next layer sees makes
    up for it."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for number in range(3):
        x = keras.layers.Conv2D(16, 1, use_bias=False, name=f"expand{number}")(x)
        x = keras.layers.ReLU(limit)(keras.layers.BatchNormalization(name=f"norm{number}")(x))
        x = keras.layers.DepthwiseConv2D(3, padding="same", name=f"depthwise{number}")(x)
        x = keras.layers.ReLU(limit)(x)
        x = keras.layers.Conv2D(16, 1, name=f"project{number}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(5, name="logits")(x))
    generator = np.random.default_rng(1)
    for number in range(3):
        norm, depthwise = model.get_layer(f"norm{number}"), model.get_layer(f"depthwise{number}")
        norm.moving_mean.assign(generator.normal(size=16) * 0.1)
        norm.moving_variance.assign(generator.uniform(0.5, 2, 16))
        factor = np.exp(generator.uniform(-np.log(unbalanced), np.log(unbalanced), 16)).astype("float32")
        kernel = np.asarray(depthwise.kernel)
        depthwise.kernel.assign(kernel * factor[:, None])
        after = model.get_layer(f"project{number}")
        after.kernel.assign(np.asarray(after.kernel) / factor[:, None])
    return model


def test_a_network_of_relus_answers_as_before():
    model = depthwise_network(unbalanced=5)
    equal = equalize.equalized(model)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in equal.layers)
    before, after = np.asarray(model(IMAGES.astype("float32"))), np.asarray(equal(IMAGES.astype("float32")))
    np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())


def test_ranges_become_alike():
    equal = equalize.equalized(depthwise_network(unbalanced=30))
    for number in range(3):
        kernel = np.abs(np.asarray(equal.get_layer(f"depthwise{number}").kernel)).max(axis=(0, 1, 3))
        assert kernel.max() / kernel.min() < 30


def test_the_upper_limit_of_a_relu_between_neighbours_goes():
    equal = equalize.equalized(depthwise_network(limit=6.0))
    assert all(layer.max_value is None for layer in equal.layers if isinstance(layer, keras.layers.ReLU))


def test_what_one_scale_per_tensor_breaks_is_healed(tmp_path):
    model = depthwise_network(unbalanced=60)
    expected = np.asarray(model(IMAGES.astype("float32")))
    errors = {}
    for name, made in (("as it is", model), ("equalized", equalize.equalized(model))):
        convert.float_graph(made, functions, tmp_path / name)
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(convert.convert(tmp_path / name, "int8", calibration(IMAGES), per_channel=False))
        logits = LiteRTPredictor(path).predict({"image": IMAGES})["logits"]
        errors[name] = np.sqrt(((logits - expected) ** 2).mean() / expected.var())
    assert errors["as it is"] > 0.2
    assert errors["equalized"] < 0.35 * errors["as it is"]


def test_layers_that_others_see_too_are_left_alone():
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 1, name="shared")(inputs)
    y = keras.layers.Conv2D(4, 1, name="branch")(x)
    model = keras.Model(inputs,
                        keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([x, y]))))
    before = np.asarray(model.get_layer("branch").kernel)
    np.testing.assert_array_equal(np.asarray(equalize.equalized(model).get_layer("branch").kernel), before)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet8"])
def test_the_builders_cross(name):
    import models

    model = models.build(name, input_shape=(32, 32, 3), classes=5)
    equal = equalize.equalized(model)
    assert equal.count_params() < model.count_params()
    assert np.isfinite(np.asarray(equal(np.full((1, 32, 32, 3), 100, "float32")))).all()
