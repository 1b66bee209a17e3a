"""The bridge, on trained weights and held-out digits: the two libraries must answer alike, both ways."""
import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
import tf_keras

import models
from export.keras_models import bridge, graph
from tests.export.keras_models.crossing import check, numbers

FAMILIES = ("alexnet", "convnext_tiny", "densenet121", "ds_cnn", "efficientnet_b0", "efficientnet_v2_b0", "googlenet",
            "inception_v3", "lenet5", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilevit_xxs", "resnet8",
            "resnet18", "resnet20", "resnet50", "resnet50_v2", "shufflenet_v2_x0_5", "squeezenet", "vgg11", "vit_tiny")
QUICK = ("resnet8",)
BY_NAME = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
SETTINGS = {
    "alexnet": {"width": 0.25, "head": 64},
    "convnext_tiny": {"width": 0.25, "depth": 0.3, "patch": 2, "layer_scale": 0.1},
    "densenet121": {"width": 0.5, "depth": 0.25}, "efficientnet_b0": {"width": 0.5, "depth": 0.5},
    "efficientnet_v2_b0": {"width": 0.5, "depth": 0.5},
    "googlenet": {"width": 0.25, "batch_norm": True, "auxiliary": 0.0},
    "inception_v3": {"width": 0.25, "skip_halvings": 2}, "mobilevit_xxs": {"skip_halvings": 1},
    "resnet18": {"width": 16}, "squeezenet": {"batch_norm": True},
    "vgg11": {"width": 0.25, "head": 64, "batch_norm": True}, "vit_tiny": {"patch": 8, "depth": 3, "width": 0.5}}
SIDES = {"alexnet": 96}


@pytest.fixture(scope="module")
def digits():
    """Training and held-out digits as 32 x 32 RGB pixels, and one-hot targets."""
    data = sklearn.datasets.load_digits()
    pixels = np.repeat(np.kron(data.images * 255 / 16, np.ones((1, 4, 4)))[..., None], 3, axis=-1).astype("float32")
    targets = np.eye(10, dtype="float32")[data.target]
    return pixels[:1000], targets[:1000], pixels[1000:1100], targets[1000:1100]


def trained(name, digits, steps=25):
    keras.utils.set_random_seed(1)
    side = SIDES.get(name, 32)
    model = models.build(name, input_shape=(side, side, 3), classes=10, **SETTINGS.get(name, {}))
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
    images, targets = resized(digits[0], name), digits[1]
    model.fit(images[:32 * steps], targets[:32 * steps], batch_size=32, epochs=1, verbose=0)
    return model


def resized(images, name):
    factor = SIDES.get(name, 32) // 32
    return np.kron(images, np.ones((1, factor, factor, 1), "float32"))


def close(one, other):
    """Within 1e-5 of the largest logit."""
    one, other = np.asarray(one), np.asarray(other)
    assert np.abs(one).max() > 0.01, "a model that answers nothing proves nothing"
    assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max()


@pytest.fixture(scope="module", params=BY_NAME)
def family(request, digits):
    """A family's name, and a model of it that has learnt: made once for the tests of a family, which run in their
    order."""
    return request.param, trained(request.param, digits)


def test_every_family_crosses_both_ways(family, digits):
    name, model = family
    held_out = resized(digits[2], name)
    there = bridge.to_tf_keras(model)
    back = bridge.to_keras(there)
    assert isinstance(there, tf_keras.Model) and isinstance(back, keras.Model)
    close(model(held_out, training=False), there(held_out, training=False))
    close(model(held_out, training=False), back(held_out, training=False))
    assert len(there.weights) == len(model.weights)
    for before, after in zip(model.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    names = [[layer.name for layer in one.layers if layer.weights] for one in (model, back)]
    assert names[0] == names[1]
    for layer in model.layers:
        if layer.weights:
            for before, after in zip(layer.get_weights(), there.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(before, after)


def test_every_family_learns_alike_on_the_other_side(family, digits):
    """In training mode, where batch normalization takes the batch's statistics: the same gradients, weight by weight,
    and the same moving statistics afterwards."""
    name, model = family
    images, targets = resized(digits[0][:32], name), digits[1][:32]
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    there = bridge.to_tf_keras(model)
    here, other = gradients(model, images, targets), gradients(there, images, targets)
    assert here.keys() == other.keys() and len(here) > 3
    largest = max(np.abs(one).max() for values in here.values() for one in values)
    for layer, values in here.items():
        for one, two in zip(values, other[layer], strict=True):
            np.testing.assert_allclose(one, two, atol=1e-3 * largest, err_msg=layer)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for one, two in zip(layer.get_weights(), there.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4, err_msg=layer.name)


def gradients(model, images, targets):
    """Layer to the gradients of the cross-entropy with respect to its weights, in training mode."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, model(images, training=True)))
    held = {layer.name: [variable if isinstance(variable, tf.Variable) else variable.value
                         for variable in layer.trainable_variables]
            for layer in model.layers if layer.trainable_variables}
    result = tape.gradient(loss, held)
    return {name: [tf.convert_to_tensor(one).numpy() for one in values] for name, values in result.items()}


def test_trainable_flags_and_regularizers_survive():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5), name="d")(
        keras.layers.Dense(4, name="frozen")(inputs)))
    model.get_layer("frozen").trainable = False
    there = bridge.to_tf_keras(model)
    for other in (there, bridge.to_keras(there)):
        assert other.get_layer("frozen").trainable is False and len(other.trainable_weights) == 2
    expected = 0.5 * float((model.get_layer("d").get_weights()[0] ** 2).sum())
    assert float(sum(there.losses)) == pytest.approx(expected, rel=1e-5)
    assert float(sum(bridge.to_keras(there).losses)) == pytest.approx(expected, rel=1e-5)


def test_several_inputs_and_outputs_and_a_shared_layer():
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    shared = keras.layers.Dense(3, name="shared")
    both = keras.layers.Concatenate()([shared(left), shared(right)])
    there, back = check(keras.Model([left, right], [both, keras.layers.Dense(2)(both)]), numbers(5, 4),
                        numbers(5, 4) + 1)
    assert sum(layer.name == "shared" for layer in there.layers) == 1
    assert len(there.weights) == len(back.weights) == 4


def two_and_two(inputs, outputs):
    """A model of two named inputs and two named outputs, in neither case in alphabetical order."""
    keras.utils.set_random_seed(0)
    window, past = keras.Input((4,), name="window"), keras.Input((6, 3), name="past")
    x = keras.layers.Concatenate()([keras.layers.Dense(5, "tanh", name="d")(window),
                                    keras.layers.LSTM(5, name="l")(past)])
    value, score = keras.layers.Dense(3, name="value")(x), keras.layers.Dense(2, name="score")(x)
    received = {"dict": {"window": window, "past": past}, "list": [window, past]}[inputs]
    return keras.Model(received, {"dict": {"upper": value, "lower": score}, "list": [value, score], "bare": value,
                               "dict of one": {"upper": value}}[outputs])


@pytest.mark.parametrize("outputs", ["dict", "list", "bare", "dict of one"])
@pytest.mark.parametrize("inputs", ["dict", "list"])
def test_names_and_structure_of_inputs_and_outputs_are_kept_both_ways(inputs, outputs):
    model = two_and_two(inputs, outputs)
    examples = {"window": numbers(5, 4), "past": numbers(5, 6, 3)}
    value = examples if inputs == "dict" else [examples["window"], examples["past"]]
    expected = model(value, training=False)
    there = bridge.to_tf_keras(model)
    for other in (there, bridge.to_keras(there)):
        assert graph.input_names(other) == graph.input_names(model)
        assert graph.output_names(other) == graph.output_names(model)
        assert type(other.input) is type(model.input)
        answers = other(value, training=False)
        keras.tree.assert_same_structure(expected, answers)
        if isinstance(expected, dict):
            assert list(answers) == list(expected)
        for one, two in zip(keras.tree.flatten(expected), keras.tree.flatten(answers), strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_a_nested_model_with_a_dict_of_outputs_crosses():
    inner = two_and_two("dict", "dict")
    window, past = keras.Input((4,), name="window"), keras.Input((6, 3), name="past")
    outputs = inner({"window": window, "past": past})
    model = keras.Model([window, past],
                        keras.layers.Dense(2)(keras.layers.Concatenate()([outputs["lower"], outputs["upper"]])))
    check(model, numbers(5, 4), numbers(5, 6, 3))


def test_sequential_and_nested_models():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh"), keras.layers.LayerNormalization()],
                             name="inner")
    check(inner, numbers(5, 4))
    inputs = keras.Input((4,))
    there, _ = check(keras.Model(inputs, keras.layers.Dense(2)(inner(inputs))), numbers(5, 4))
    assert there.get_layer("inner").get_weights()


def test_keras_operations_between_layers():
    inputs = keras.Input((6, 4))
    x = keras.ops.mean(keras.layers.Dense(8)(inputs) * 2 + 1, axis=1)
    x = keras.ops.reshape(keras.ops.concatenate([x, keras.ops.relu(-x)], axis=-1), (-1, 4, 4))
    check(keras.Model(inputs, keras.ops.sum(x[:, ::2], axis=-1)), numbers(5, 6, 4))


class Scale(keras.layers.Layer):
    def __init__(self, factor, **settings):
        super().__init__(**settings)
        self.factor = factor

    def call(self, x):
        return self.factor * x


def test_an_unknown_layer_is_refused_with_what_to_do_and_a_rule_brings_it_over():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(Scale(3.0, name="triple")(inputs)))
    with pytest.raises(bridge.BridgeError,
                       match=r'layer triple is a Scale, which tf_keras does not have.*crosses_as\("Scale"\)'):
        bridge.to_tf_keras(model)

    @bridge.crosses_as("Scale")
    def scale(layer):
        return tf_keras.layers.Rescaling(layer.factor, name=layer.name)

    try:
        check(model, numbers(5, 4))
    finally:
        del bridge._custom_rules["Scale"]


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(bridge.BridgeError, match="not a functional or Sequential model"):
        bridge.to_tf_keras(Own(name="own"))


def test_dropout_acts_in_training_alone_on_the_other_side_too():
    """Keras 3 writes `training` down when a graph is made, and obeys whoever asks the model."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.RandomFlip("horizontal")(keras.layers.Dropout(0.5)(inputs))
    there = bridge.to_tf_keras(keras.Model(inputs, keras.layers.GaussianNoise(0.1)(x)))
    values = np.random.default_rng(0).uniform(1, 2, (8, 6, 6, 3)).astype("float32")
    np.testing.assert_array_equal(there(values, training=False), values)
    assert (np.abs(np.asarray(there(values, training=True))) < 0.5).mean() > 0.3


def test_layers_that_keras_2_does_not_have_cross_as_they_are_where_they_have_no_weights():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.AdaptiveAveragePooling2D(4)(keras.layers.RandomHue(0.3)(inputs))
    model = keras.Model(inputs, x)
    values = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")
    expected = np.asarray(model(values, training=False))
    there = bridge.to_tf_keras(model)
    np.testing.assert_array_equal(there(values, training=False), expected)
    assert np.abs(np.asarray(there(values, training=True)) - expected).max() > 1, "augmented where it learns"
    np.testing.assert_array_equal(bridge.to_keras(there)(values, training=False), expected)
