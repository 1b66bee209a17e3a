"""The bridge, on trained weights and held-out digits: the two libraries must answer alike, both ways."""
import keras
import numpy as np
import pytest
import sklearn.datasets
import tf_keras

import models
from export import bridge

FAMILIES = ("alexnet", "convnext_tiny", "densenet121", "ds_cnn", "efficientnet_b0", "efficientnet_v2_b0", "googlenet", "inception_v3",
            "lenet5", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilevit_xxs", "resnet8", "resnet18", "resnet20", "resnet50",
            "resnet50_v2", "shufflenet_v2_x0_5", "squeezenet", "vgg11", "vit_tiny")
QUICK = ("lenet5", "resnet8", "resnet20")
SETTINGS = {
    "alexnet": {"width": 0.25, "head": 64}, "convnext_tiny": {"width": 0.25, "depth": 0.3, "patch": 2, "layer_scale": 0.1},
    "densenet121": {"width": 0.5, "depth": 0.25}, "efficientnet_b0": {"width": 0.5, "depth": 0.5},
    "efficientnet_v2_b0": {"width": 0.5, "depth": 0.5}, "googlenet": {"width": 0.25, "batch_norm": True, "auxiliary": 0.0},
    "inception_v3": {"width": 0.25, "skip_halvings": 2}, "mobilevit_xxs": {"skip_halvings": 1}, "resnet18": {"width": 16},
    "squeezenet": {"batch_norm": True}, "vgg11": {"width": 0.25, "head": 64, "batch_norm": True},
    "vit_tiny": {"patch": 8, "depth": 3, "width": 0.5}}
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


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES])
def test_every_family_crosses_both_ways(name, digits):
    model, held_out = trained(name, digits), resized(digits[2], name)
    there = bridge.to_tf_keras(model)
    back = bridge.to_keras(there)
    assert isinstance(there, tf_keras.Model) and isinstance(back, keras.Model)
    close(model(held_out, training=False), there(held_out, training=False))
    close(model(held_out, training=False), back(held_out, training=False))
    assert len(there.weights) == len(model.weights)
    for before, after in zip(model.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert [layer.name for layer in back.layers if layer.weights] == [layer.name for layer in model.layers if layer.weights]
    for layer in model.layers:
        if layer.weights:
            for before, after in zip(layer.get_weights(), there.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", ["resnet8", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_training_goes_on_alike_on_the_other_side(name, digits):
    """One step of plain gradient descent changes the same weights by the same amounts."""
    model, (images, targets, _, _) = trained(name, digits), digits
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    there = bridge.to_tf_keras(model)
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(0.01), keras.losses.CategoricalCrossentropy(from_logits=True))
    there.compile(tf_keras.optimizers.SGD(0.01), tf_keras.losses.CategoricalCrossentropy(from_logits=True))
    model.train_on_batch(images[:64], targets[:64])
    there.train_on_batch(images[:64], targets[:64])
    after, other = model.get_weights(), bridge.to_keras(there).get_weights()
    moved = max(np.abs(one - two).max() for one, two in zip(before, after, strict=True))
    assert moved > 1e-3
    for one, two in zip(after, other, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-3 * moved)


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


def check(model, *inputs):
    there = bridge.to_tf_keras(model)
    back = bridge.to_keras(there)
    given = list(inputs) if len(inputs) > 1 else inputs[0]
    expected = keras.tree.flatten(model(given, training=False))
    for other in (there, back):
        for one, two in zip(expected, keras.tree.flatten(other(given, training=False)), strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(two), rtol=1e-5, atol=1e-6)
    return there, back


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_several_inputs_and_outputs_and_a_shared_layer():
    left, right, shared = keras.Input((4,), name="left"), keras.Input((4,), name="right"), keras.layers.Dense(3, name="shared")
    both = keras.layers.Concatenate()([shared(left), shared(right)])
    there, back = check(keras.Model([left, right], [both, keras.layers.Dense(2)(both)]), numbers(5, 4), numbers(5, 4) + 1)
    assert sum(layer.name == "shared" for layer in there.layers) == 1
    assert len(there.weights) == len(back.weights) == 4


def test_sequential_and_nested_models():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh"), keras.layers.LayerNormalization()], name="inner")
    check(inner, numbers(5, 4))
    inputs = keras.Input((4,))
    there, _ = check(keras.Model(inputs, keras.layers.Dense(2)(inner(inputs))), numbers(5, 4))
    assert there.get_layer("inner").get_weights()


def test_keras_operations_between_layers():
    inputs = keras.Input((6, 4))
    x = keras.ops.mean(keras.layers.Dense(8)(inputs) * 2 + 1, axis=1)
    x = keras.ops.reshape(keras.ops.concatenate([x, keras.ops.relu(-x)], axis=-1), (-1, 4, 4))
    check(keras.Model(inputs, keras.ops.sum(x[:, ::2], axis=-1)), numbers(5, 6, 4))


@pytest.mark.parametrize("activation", ["hard_silu", "hard_sigmoid", "gelu", "silu", "relu6", "leaky_relu", "elu", "mish"])
def test_activations_mean_the_same(activation):
    inputs = keras.Input((4,))
    check(keras.Model(inputs, keras.layers.Dense(8, activation)(keras.layers.Activation(activation)(inputs))), 4 * numbers(50, 4))


def test_a_leaky_slope_is_carried_over():
    inputs = keras.Input((4,))
    check(keras.Model(inputs, keras.layers.LeakyReLU(negative_slope=0.07)(inputs)), numbers(50, 4))


def test_an_activation_that_is_another_function_is_refused_on_the_way_back():
    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, tf_keras.layers.Activation("hard_sigmoid", name="gate")(inputs))
    with pytest.raises(bridge.BridgeError, match=r"layer gate \(Activation\) has the activation hard_sigmoid of tf_keras"):
        bridge.to_keras(model)


class Scale(keras.layers.Layer):
    def __init__(self, factor, **settings):
        super().__init__(**settings)
        self.factor = factor

    def call(self, x):
        return self.factor * x


def test_an_unknown_layer_is_refused_with_what_to_do_and_a_rule_brings_it_over():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(Scale(3.0, name="triple")(inputs)))
    with pytest.raises(bridge.BridgeError, match=r'layer triple is a Scale, which tf_keras does not have.*crosses_as\("Scale"\)'):
        bridge.to_tf_keras(model)

    @bridge.crosses_as("Scale")
    def scale(layer):
        return tf_keras.layers.Rescaling(layer.factor, name=layer.name)

    try:
        check(model, numbers(5, 4))
    finally:
        del bridge._own_rules["Scale"]


def test_a_setting_that_the_other_side_does_not_have_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(4, lora_rank=2, name="adapted")(inputs))
    with pytest.raises(bridge.BridgeError, match=r"layer adapted \(Dense\) has lora_rank = 2, which tf_keras cannot do"):
        bridge.to_tf_keras(model)


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(bridge.BridgeError, match="no functional or Sequential model"):
        bridge.to_tf_keras(Own(name="own"))
