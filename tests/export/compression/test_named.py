"""Compression of a model of two named inputs and a dict of two named outputs: both stay what they are, before the
training, in it and after it."""
import keras
import numpy as np
import pytest
import tf_keras

from export.compression import cluster, equalize, low_rank, prune, qat
from export.conversion import convert
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT
from export.tflite import file as tflite_file

GENERATOR = np.random.default_rng(0)
INPUTS = {"photo": GENERATOR.integers(0, 256, (64, 8, 8, 3)).astype("float32"),
          "age": GENERATOR.normal(size=(64, 4)).astype("float32")}
TARGETS = {"logits": np.eye(3, dtype="float32")[np.arange(64) % 3],
           "hours": GENERATOR.normal(size=(64, 1)).astype("float32")}
PREPARED = {"qat": qat.prepare, "prune": lambda model: prune.prepare(model, 0.5, steps=20),
            "cluster": lambda model: cluster.prepare(model, 4)}


def build(inputs="dict", outputs="dict"):
    keras.utils.set_random_seed(0)
    photo, age = keras.Input((8, 8, 3), name="photo"), keras.Input((4,), name="age")
    seen = keras.layers.Conv2D(16, 3, activation="relu", name="conv")(keras.layers.Rescaling(1 / 255)(photo))
    parts = [keras.layers.GlobalAveragePooling2D()(seen), keras.layers.Dense(16, "hard_silu", name="dense")(age)]
    x = keras.layers.Dense(32, activation="relu", name="both")(keras.layers.Concatenate()(parts))
    logits, hours = keras.layers.Dense(3, name="l")(x), keras.layers.Dense(1, name="h")(x)
    return keras.Model({"dict": {"photo": photo, "age": age}, "list": [photo, age]}[inputs],
                       {"dict": {"logits": logits, "hours": hours}, "list": [logits, hours]}[outputs])


@pytest.mark.parametrize("outputs", ["dict", "list"])
@pytest.mark.parametrize("inputs", ["dict", "list"])
@pytest.mark.parametrize("name", PREPARED)
def test_a_prepared_model_has_the_inputs_and_outputs_of_the_model(name, inputs, outputs):
    model = build(inputs, outputs)
    prepared = PREPARED[name](model)
    assert graph.input_names(prepared) == graph.input_names(model)
    assert type(prepared.input) is type(model.input) and type(prepared.output) is type(model.output)
    value = INPUTS if inputs == "dict" else list(INPUTS.values())
    expected, answers = model(value, training=False), prepared(value, training=False)
    keras.tree.assert_same_structure(expected, answers)
    for one, two in zip(keras.tree.flatten(expected), keras.tree.flatten(answers), strict=True):
        assert one.shape == two.shape
        if name == "prune":
            np.testing.assert_allclose(one, two, atol=1e-5)
    if outputs == "dict":
        assert list(answers) == list(expected)


def fitted(prepared, callbacks=(), epochs=5):
    losses = {"logits": tf_keras.losses.CategoricalCrossentropy(from_logits=True), "hours": "mse"}
    prepared.compile(tf_keras.optimizers.Adam(1e-3), losses)
    prepared.fit(INPUTS, TARGETS, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return prepared


def test_pruned_weights_are_taken_over():
    model = build()
    prune.take_over(model, fitted(PREPARED["prune"](model), prune.callbacks()))
    assert prune.sparsity(model) == pytest.approx(0.5, abs=0.01)


def test_clustered_weights_are_taken_over():
    model = build()
    cluster.take_over(model, fitted(PREPARED["cluster"](model)))
    assert cluster.different_weights(model) == 4


def test_what_has_learnt_with_its_rounding_ends_wholly_integer_under_its_names(tmp_path):
    model = build()
    aware = fitted(qat.prepare(model), epochs=40)  # until the ranges have settled
    qat.float_graph(aware, lambda written: [graph.function(written, graph.signature_of(model))], tmp_path / "graph")
    content = convert.convert(tmp_path / "graph", "int8", [(DEFAULT, INPUTS)])
    assert not tflite_file.float_tensors(content)
    (tmp_path / "qat.tflite").write_bytes(content)
    outputs = LiteRTPredictor(tmp_path / "qat.tflite").predict(INPUTS)
    expected = aware(INPUTS, training=False)
    assert outputs.keys() == expected.keys() == {"logits", "hours"}
    for name, value in expected.items():
        error = np.sqrt(((outputs[name] - np.asarray(value)) ** 2).mean()) / np.asarray(value).std()
        assert error < 0.15, name


@pytest.mark.parametrize("rewritten", [lambda model: low_rank.factorized(model, 0.9999999), equalize.equalized])
@pytest.mark.parametrize(("inputs", "outputs"), [("dict", "dict"), ("list", "list")])
def test_what_is_rewritten_in_closed_form_answers_under_the_same_names(rewritten, inputs, outputs):
    model = build(inputs, outputs)
    other = rewritten(model)
    assert graph.signature_of(other) == graph.signature_of(model)
    value = INPUTS if inputs == "dict" else list(INPUTS.values())
    for one, two in zip(keras.tree.flatten(model(value)), keras.tree.flatten(other(value)), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4 * np.abs(one).max())
