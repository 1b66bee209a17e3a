"""Models in operations that TFLite has: equal to what they were, and convertible."""
import keras
import numpy as np
import pytest

from export.conversion import convert
from export.conversion.plain import plain
from export.predictors import LiteRTPredictor
from pipelines.tools.inspect_model import functions_of

L = keras.layers


def with_weights(model):
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("axis", [-1, 1, -2, [1, 2], [1, 3]])
def test_layer_normalization_in_plain_operations_is_the_same_on_any_axes(axis):
    model = with_weights(keras.Sequential([keras.Input((4, 5, 3)), L.LayerNormalization(axis)]))
    inputs = np.random.default_rng(1).normal(size=(2, 4, 5, 3)).astype("float32")
    result = plain(model)
    assert result is not model
    np.testing.assert_allclose(result(inputs), model(inputs), atol=1e-5)


def test_a_model_that_is_plain_stays_as_it_is():
    model = keras.Sequential([keras.Input((4, 5, 3)), L.Conv2D(2, 2, data_format="channels_first"), L.Softmax()])
    assert plain(model) is model


@pytest.mark.parametrize("inner", [False, True])
def test_channels_first_of_sequences_and_volumes_reach_a_file(tmp_path, inner):
    keras.utils.set_random_seed(0)
    first = {"data_format": "channels_first"}
    layers = [L.Conv1D(4, 2, activation="softmax", groups=2, padding="same", **first),
              L.DepthwiseConv1D(2, depth_multiplier=2, **first), L.SeparableConv1D(6, 3, strides=2, **first),
              L.Conv1DTranspose(5, 3, strides=2, activation="tanh", **first), L.LayerNormalization()]
    if inner:
        layers = [keras.Sequential([keras.Input((6, 10)), *layers], name="inner")]
    sequence, volume = keras.Input((6, 10), name="sequence"), keras.Input((2, 4, 5, 6), name="volume")
    x = sequence
    for layer in layers:
        x = layer(x)
    y = L.Conv3DTranspose(3, 2, **first)(L.Conv3D(7, 2, padding="same", activation="relu", **first)(volume))
    model = with_weights(keras.Model([sequence, volume], {"x": x, "y": y}))
    generator = np.random.default_rng(1)
    inputs = {"sequence": generator.normal(size=(3, 6, 10)).astype("float32"),
              "volume": generator.normal(size=(3, 2, 4, 5, 6)).astype("float32")}
    expected = {name: np.asarray(values) for name, values in model(inputs).items()}
    convert.float_graph(model, functions_of, tmp_path / "graph")
    (tmp_path / "float32.tflite").write_bytes(convert.convert(tmp_path / "graph", "float32"))
    answered = LiteRTPredictor(tmp_path / "float32.tflite").predict(inputs)
    for name, values in expected.items():
        np.testing.assert_allclose(answered[name], values, atol=1e-5 * np.abs(values).max())


def test_a_bias_that_keras_adds_along_the_width_is_added_there():
    """A layer in two places, in one of which its output is as wide as it has channels."""
    shared = L.Conv1D(4, 2, data_format="channels_first")
    long, short = keras.Input((3, 10)), keras.Input((3, 5))
    model = with_weights(keras.Model([long, short], [shared(long), shared(short)]))
    generator = np.random.default_rng(1)
    inputs = [generator.normal(size=(2, 3, length)).astype("float32") for length in (10, 5)]
    for answered, expected in zip(plain(model)(inputs), model(inputs), strict=True):
        np.testing.assert_allclose(answered, expected, atol=1e-5)


def test_a_layer_inside_another_stays():
    inner = L.TimeDistributed(L.Conv1D(4, 2, data_format="channels_first"))
    model = keras.Sequential([keras.Input((2, 3, 10)), inner])
    assert plain(model) is model
