"""Models that cross the bridge both ways, for the tests of it."""
import keras
import numpy as np

from export.keras_models import bridge


def check(model, *inputs):
    there = bridge.to_tf_keras(model)
    back = bridge.to_keras(there)
    value = list(inputs) if len(inputs) > 1 else inputs[0]
    expected = keras.tree.flatten(model(value, training=False))
    for other in (there, back):
        for one, two in zip(expected, keras.tree.flatten(other(value, training=False)), strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(two), rtol=1e-5, atol=1e-6)
    return there, back


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")
