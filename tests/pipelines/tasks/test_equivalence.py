"""Models of any inputs and outputs, pressed and held against what the original answers in its own library."""
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tf_keras

from export.keras_models import imported, original
from export.keras_models.load import load
from pipelines.tasks.equivalence import Differences


def test_differences_are_shares_of_the_originals_largest_number():
    measure = Differences(["scores", "price"])
    true = {"scores": np.array([[0.1, 0.9], [0.8, 0.2]]), "price": np.array([[10.0], [-20.0]])}
    answered = {"scores": np.array([[0.2, 0.8], [0.4, 0.6]]), "price": np.array([[10.1], [-20.0]])}
    wrong = measure.add(true, answered)
    np.testing.assert_allclose(wrong, [0.1, 0.4])
    evaluation = measure.result()
    rows = {name: numbers for name, *numbers in evaluation.tables[0].rows}
    np.testing.assert_allclose(rows["scores"], [0.5, 0.4 / 0.9, 0.25 / 0.9])
    np.testing.assert_allclose(rows["price"], [1.0, 0.1 / 20, 0.05 / 20])
    assert evaluation.metrics == {"agreement": 0.5, "largest": rows["scores"][1], "mean": rows["scores"][2]}


def two_by_two(library):
    """A model of numbers and of tokens, in an order that is not the alphabet's, to classes and to a price."""
    library.utils.set_random_seed(1)
    layers = library.layers
    numbers, tokens = library.Input((12,), name="zeta"), library.Input((6,), dtype="int32", name="alpha")
    embedded = layers.Flatten()(layers.Embedding(20, 4)(tokens))
    hidden = layers.Dense(16, activation="relu")(layers.Concatenate()([numbers, embedded]))
    outputs = [layers.Dense(5, activation="softmax", name="kind")(hidden), layers.Dense(1, name="price")(hidden)]
    return library.Model([numbers, tokens], outputs)


@pytest.fixture(scope="module")
def given():
    generator = np.random.default_rng(0)
    return {"zeta": generator.normal(size=(80, 12)).astype("float32"), "alpha": generator.integers(0, 20, (80, 6))}


@pytest.fixture
def place(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", **given)
    return tmp_path


@pytest.mark.parametrize(("library", "name"), [(keras, "m.keras"), (keras, "m.h5"), (tf_keras, "m.h5"),
                                               (tf_keras, "m")])
def test_the_original_is_asked_in_its_own_library_in_its_own_order(library, name, place, given):
    made = two_by_two(library)
    made.save(name)
    inputs = [given["zeta"], given["alpha"].astype("int32")]
    kind, price = original.answers(Path(name), inputs)
    expected = made(inputs)
    np.testing.assert_allclose(kind, expected[0], atol=1e-6)
    np.testing.assert_allclose(price, expected[1], atol=1e-6)
    model = load(Path(name))
    signature = imported.signature_in_order(model)
    assert [tensor.name for tensor in signature.inputs] == ["zeta", "alpha"]
    assert [tensor.name for tensor in signature.outputs] == ["kind", "price"]
    answers = imported.named(model)(dict(zip(("zeta", "alpha"), inputs, strict=True)))
    np.testing.assert_allclose(answers["price"], price, atol=1e-5)


def test_two_inputs_and_two_outputs_are_pressed(place, litepress):
    two_by_two(tf_keras).save("m.h5")
    done = litepress("press", "m.h5", "--data", "data.npz", "--variants", "float32,int8", "--targets", "litert",
                     "--no-track", "--json", "r.json", "--out", "bundle")
    assert done.code == 0, done.out + done.err
    result = json.loads(Path("r.json").read_text())
    assert result["reference"]["metrics"]["largest"] < 1e-5 and result["reference"]["metrics"]["agreement"] == 1
    of = {one["variant"]: one for one in result["artifacts"]}
    assert of["float32"]["metrics"]["largest"] < 1e-5
    assert of["int8"]["integer"] and of["int8"]["metrics"]["agreement"] > 0.8
    assert 1e-5 < of["int8"]["metrics"]["mean"] < of["int8"]["metrics"]["largest"] < 0.3
    model = json.loads(Path("bundle/model.json").read_text())["models"][0]
    assert {one["name"]: one["shape"] for one in model["inputs"]} == {"alpha": [1, 6], "zeta": [1, 12]}
    assert "Output by output" in Path("bundle/report.html").read_text()


@pytest.mark.parametrize(("change", "arguments", "expected"), [
    ({"zeta": None}, (), "it has no array zeta; it has alpha, and the model takes zeta (batch, 12) float32, alpha "
                         "(batch, 6) int32"),
    ({"zeta": np.zeros((80, 3))}, (), "zeta is of (batch, 3); the model takes zeta (batch, 12) float32"),
    ({"zeta": np.zeros((79, 12))}, (), "give as many examples of each input, and at least 4; it has 79 of zeta, 80 of "
                                       "alpha"),
    ({}, ("--variants", "qat"), "--variants qat: trains, and nothing is known of this model but what it answers"),
    ({}, ("--task", "regression"), "--task regression: press measures image_classification or equivalence"),
    ({}, ("--task", "image_classification"), "must be a functional or Sequential model of one image and one output")])
def test_what_does_not_go_together_is_one_line(place, given, litepress, change, arguments, expected):
    two_by_two(keras).save("m.keras")
    np.savez("data.npz", **{name: values for name, values in {**given, **change}.items() if values is not None})
    done = litepress("press", "m.keras", "--data", "data.npz", "--no-track", *arguments)
    assert done.code == 2 and expected in done.err and len(done.err.strip().splitlines()) == 1


def test_a_graph_is_no_keras_model(place, litepress):
    Path("m.tflite").write_bytes(b"whatever it holds")
    done = litepress("press", "m.tflite", "--data", "data.npz", "--no-track", "--task", "equivalence")
    assert done.code == 2
    assert "--task equivalence takes Keras models so far, and m.tflite is taken as a graph" in done.err
