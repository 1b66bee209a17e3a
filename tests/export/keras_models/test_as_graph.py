"""Keras models that are taken as a graph, since Keras 3 has no layer for one of theirs."""
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.keras_models import as_graph, original
from export.predictors import LiteRTPredictor

L = tf_keras.layers


@pytest.fixture
def local(tmp_path):
    """A file of Keras 2 with a layer that Keras 3 does not have."""
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential([L.Input((8, 8, 3), name="photo"), L.LocallyConnected2D(2, 3), L.Flatten(),
                                 L.Dense(3, activation="softmax")])
    model.save(tmp_path / "m.h5")
    given = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    return tmp_path / "m.h5", given, model.predict(given, verbose=0)


def test_a_layer_that_keras_3_does_not_have_makes_a_model_a_graph(local, capfd):
    path, given, expected = local
    model, reason = as_graph.layer_by_layer(path)
    assert model is None and "is a LocallyConnected2D, which keras does not have" in reason
    signature = as_graph.signature_of(path)
    (path.parent / "m.tflite").write_bytes(as_graph.as_named_tflite(path, signature.inputs))
    pressed = LiteRTPredictor(path.parent / "m.tflite").predict({signature.inputs[0].name: given})
    np.testing.assert_allclose(pressed[signature.outputs[0].name], expected, atol=1e-6)
    np.testing.assert_allclose(original.answers(path, [given], is_graph=True)[0], expected, atol=1e-6)
    assert "Endpoint" not in capfd.readouterr().out


def test_its_inputs_and_outputs_keep_their_names(tmp_path):
    one, two = L.Input((4, 2), name="one"), L.Input((3,), name="two")
    x = L.LocallyConnected1D(2, 2)(one)
    model = tf_keras.Model({"b": two, "a": one}, [L.Dense(2, name="last")(two), L.Flatten(name="first")(x)])
    model.save(tmp_path / "m.h5")
    signature = as_graph.signature_of(tmp_path / "m.h5")
    assert {tensor.name: tensor.shape for tensor in signature.inputs} == {"one": (4, 2), "two": (3,)}
    assert {tensor.name: tensor.shape for tensor in signature.outputs} == {"first": (6,), "last": (2,)}
    generator = np.random.default_rng(0)
    given = {"one": generator.normal(size=(5, 4, 2)).astype("float32"),
             "two": generator.normal(size=(5, 3)).astype("float32")}
    expected = dict(zip(["last", "first"], model({"a": given["one"], "b": given["two"]}), strict=True))
    answered = as_graph.answers(tmp_path / "m.h5", [given[tensor.name] for tensor in signature.inputs])
    for tensor, values in zip(signature.outputs, answered, strict=True):
        np.testing.assert_allclose(values, expected[tensor.name], atol=1e-6)


def test_what_comes_over_is_no_graph(tmp_path):
    tf_keras.Sequential([L.Input((4,)), L.Dense(2)]).save(tmp_path / "m.h5")
    model, reason = as_graph.layer_by_layer(tmp_path / "m.h5")
    assert model.count_params() == 10 and not reason


def test_the_only_signature_is_taken_whatever_it_is_called(tmp_path):
    module = tf.Module()
    module.call = tf.function(lambda image: {"scores": tf.reduce_mean(image, axis=(1, 2))})
    concrete = module.call.get_concrete_function(tf.TensorSpec((None, 4, 4, 3), tf.float32, "image"))
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"predict_images": concrete})
    assert as_graph.signature_of(tmp_path / "m").outputs[0].name == "scores"
    (tmp_path / "m.tflite").write_bytes(as_graph.as_tflite(tmp_path / "m"))
    given = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    answered = LiteRTPredictor(tmp_path / "m.tflite").predict({"image": given})["logits"]
    np.testing.assert_allclose(answered, given.mean(axis=(1, 2)), atol=1e-6)


def test_of_several_signatures_one_must_be_the_default(tmp_path):
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": 2 * x})
    concrete = module.call.get_concrete_function(tf.TensorSpec((None, 2), tf.float32, "x"))
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"one": concrete, "two": concrete})
    with pytest.raises(ValueError, match="it has the signatures one, two, and none is called serving_default"):
        as_graph.signature_of(tmp_path / "m")
