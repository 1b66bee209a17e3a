"""Models of any inputs and outputs, pressed and held against what the original answers in its own library."""
import json
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
import tf_keras

from export.keras_models import imported, original
from export.keras_models.load import load
from export.predictors import LiteRTPredictor
from export.tflite import file as tflite_file
from pipelines.errors import UserError
from pipelines.tasks.equivalence import Differences
from pipelines.tools import equivalence_data
from pipelines.training.model_section import ImportedModel


def test_differences_are_shares_of_the_originals_largest_number():
    measure = Differences(["scores", "price"])
    true = {"scores": np.array([[0.1, 0.9], [0.8, 0.2]]), "price": np.array([[10.0], [-20.0]])}
    answered = {"scores": np.array([[0.2, 0.8], [0.4, 0.6]]), "price": np.array([[10.1], [-20.0]])}
    wrong = measure.add(true, answered)
    np.testing.assert_allclose(wrong, [0.1, 0.4])
    evaluation = measure.result()
    rows = {name: numbers for name, *numbers, _ in evaluation.tables[0].rows}
    np.testing.assert_allclose(rows["scores"], [0.5, 0.4 / 0.9, 0.25 / 0.9])
    np.testing.assert_allclose(rows["price"], [1.0, 0.1 / 20, 0.05 / 20])
    assert [row[-1] for row in evaluation.tables[0].rows] == ["the largest probability is the same one",
                                                              "numbers within 1% of the range"]
    assert evaluation.metrics == {"agreement": 0.5, "largest": rows["scores"][1], "mean": rows["scores"][2]}


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize(("shape", "share"), [((5, 6, 1), 0.5), ((4,), 0.75), ((5, 6), 0.5)])
def test_every_number_of_a_picture_or_a_box_counts(batches, shape, share):
    """Also where the first number of each example, or its largest, is right."""
    true = np.random.default_rng(0).uniform(0, 10, (6, *shape))
    true[:, 0] = 20
    answered = true + np.where(np.arange(true[0].size) >= share * true[0].size, 0.5, 0.001).reshape(shape)
    measure = Differences(["map"])
    for some, given in zip(np.split(true, batches), np.split(answered, batches), strict=True):
        measure.add({"map": some}, {"map": given})
    assert measure.result().metrics["agreement"] == pytest.approx(share)


def test_embeddings_agree_by_their_cosine():
    true = np.eye(4)[[0, 1, 2, 3]]
    turned = np.array([[1, 0.05, 0, 0], [0.5, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, -1, 1]]) * 3
    measure = Differences(["embedding"])
    measure.add({"embedding": np.concatenate([true, -true])}, {"embedding": np.concatenate([turned, -turned])})
    row, = measure.result().tables[0].rows
    assert row[1] == 0.5 and row[-1] == "a cosine of 0.99"


def test_a_model_of_any_size_takes_that_of_the_data(place, litepress):
    """From pictures to maps."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    keras.Sequential([keras.Input((None, None, 3), name="picture"), layers.Conv2D(4, 3, padding="same"),
                      layers.Conv2D(2, 1, name="map")]).save("m.keras")
    np.savez("data.npz", picture=np.random.default_rng(0).uniform(size=(10, 12, 8, 3)))
    done = litepress("press", "m.keras", "--data", "data.npz", "--variants", "float32,int8", "--targets", "litert",
                     "--no-track", "--json", "r.json")
    assert done.code == 0, done.out + done.err
    assert "files for phones take picture (1, 12, 8, 3), as the data are; the model leaves sizes open" in done.out
    result = json.loads(Path("r.json").read_text())
    assert result["reference"]["metrics"]["largest"] < 1e-6
    of = {one["variant"]: one["metrics"] for one in result["artifacts"]}
    assert of["float32"]["agreement"] == 1 and 0.3 < of["int8"]["agreement"] <= 1
    again = litepress("press", of_file(result, "int8"), "--data", "data.npz", "--no-track")
    assert again.code == 2 and "is quantized already; give the float file, or the model" in again.err, again.err


def of_file(result, variant):
    return next(one["path"] for one in result["artifacts"] if one["variant"] == variant)


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


def pictures_to_numbers(place):
    """A model of pictures of another range to an embedding, and pictures in folders."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input((8, 8, 3), name="photo"), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(),
              keras.layers.Reshape((2, 2))]
    keras.Sequential(layers).save("m.keras")
    generator = np.random.default_rng(0)
    for number in range(6):
        folder = place / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(generator.integers(0, 256, (8, 8, 3), "uint8")).save(folder / f"{number}.png")
    return "photos", ("photo",)


def columns_of_two(place):
    """A model of two columns, and a table in which they are not the first."""
    keras.utils.set_random_seed(1)
    inputs = [keras.Input((1,), name=name) for name in ("age", "height")]
    keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Concatenate()(inputs))).save("m.keras")
    rows = [f"{name},{number % 7},{number / 3:.3f}" for number, name in enumerate("abcdefgh")]
    Path("people.csv").write_text("\n".join(["name,height,age", *rows]))
    return "people.csv", ("age", "height")


def columns_of_one(place):
    """A model of a vector, and a table of as many columns."""
    keras.utils.set_random_seed(1)
    keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(3)]).save("m.keras")
    values = np.random.default_rng(0).normal(size=(8, 3))
    pa.parquet.write_table(pa.table({name: values[:, number] for number, name in enumerate("cab")}), "x.parquet")
    return "x.parquet", ("x",)


@pytest.mark.parametrize("make", [pictures_to_numbers, columns_of_two, columns_of_one])
def test_pictures_and_tables_are_given_too(place, make):
    data, names = make(place)
    signature = imported.signature_in_order(load(Path("m.keras")))
    equivalence_data.write(ImportedModel(path="m.keras", pixels="-1..1"), data, signature, Path("made.npz"))
    made = np.load("made.npz")
    inputs = [made[f"test_input_{name}"] for name in names]
    answered = original.answers(Path("m.keras"), inputs)[0]
    np.testing.assert_allclose(made[f"test_output_{signature.outputs[0].name}"], answered, atol=1e-6)
    if data == "photos":
        assert inputs[0].min() < -0.9 and inputs[0].max() > 0.9 and inputs[0].shape == (6, 8, 8, 3)
    elif data == "people.csv":
        np.testing.assert_allclose(inputs[0][:, 0], np.arange(8) / 3, atol=1e-3)
    else:
        assert inputs[0].shape == (8, 3)


@pytest.mark.parametrize(("change", "arguments", "expected"), [
    ({"zeta": None}, (), "it has no array zeta; it has alpha, and the model takes zeta (batch, 12) float32, alpha "
                         "(batch, 6) int32"),
    ({"zeta": np.zeros((80, 3))}, (), "zeta is of (batch, 3); the model takes zeta (batch, 12) float32"),
    ({"zeta": np.zeros((79, 12))}, (), "give as many examples of each input, and at least 4; it has 79 of zeta, 80 of "
                                       "alpha"),
    ({"zeta": np.where(np.arange(960) == 40, np.nan, 0).reshape(80, 12)}, (),
     "zeta[3] has a number that is infinite or none (NaN), as 1 of 80 examples have"),
    ({"zeta": np.full((80, 12), "a")}, (), "zeta is not of numbers; the model takes zeta (batch, 12) float32"),
    ({}, ("--variants", "qat"), "--variants qat: trains, and nothing is known of this model but what it answers"),
    ({}, ("--task", "regression"), "--task regression: press measures image_classification, semantic_segmentation, "
                                   "object_detection, tabular"),
    ({}, ("--task", "image_classification"), "must be a functional or Sequential model of one image and one output")])
def test_what_does_not_go_together_is_one_line(place, given, litepress, change, arguments, expected):
    two_by_two(keras).save("m.keras")
    np.savez("data.npz", **{name: values for name, values in {**given, **change}.items() if values is not None})
    done = litepress("press", "m.keras", "--data", "data.npz", "--no-track", *arguments)
    assert done.code == 2 and expected in done.err and len(done.err.strip().splitlines()) == 1


class Distances(tf.Module):
    """A graph that Keras has not seen: two inputs whose names have characters that files do not take, one of any
    length, and two outputs."""

    def __init__(self):
        super().__init__()
        self.table = tf.Variable(np.random.default_rng(2).normal(size=(20, 12)), dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 12), tf.float32, "zeta"),
                                  tf.TensorSpec((None, None), tf.int32, "alpha")])
    def __call__(self, zeta, alpha):
        words = tf.gather(self.table, alpha)
        return {"mean": tf.reduce_mean(words, axis=1), "near": tf.linalg.matvec(words, zeta)}


def as_saved_model(place):
    tf.saved_model.save(Distances(), "graph")
    return "graph"


def as_tflite(place):
    """With tensors' names alone, as files of older converters have them."""
    tf.saved_model.save(Distances(), "graph")
    names = ["zeta:0", "alpha:0", "mean:0", "near:0"]
    tensors = [tf.TensorSpec((1, 12), tf.float32), tf.TensorSpec((1, 6), tf.int32)]
    made = Distances()
    traced = tf.function(lambda zeta, alpha: made(zeta, alpha)).get_concrete_function(*tensors)
    model = tflite_file.read(tf.lite.TFLiteConverter.from_concrete_functions([traced], made).convert())
    graph = model.subgraphs[0]
    for name, tensor in zip(names, (*graph.inputs, *graph.outputs), strict=True):
        graph.tensors[tensor].name = name.encode()
    model.signatureDefs = []
    Path("m.tflite").write_bytes(tflite_file.write(model))
    return "m.tflite"


def as_frozen_graph(place):
    """As TensorFlow 1 kept graphs, with their weights inside."""
    with tf.Graph().as_default() as graph:
        zeta = tf.compat.v1.placeholder("float32", (None, 12), "zeta")
        alpha = tf.compat.v1.placeholder("int32", (None, 6), "alpha")
        words = tf.gather(np.random.default_rng(2).normal(size=(20, 12)).astype("float32"), alpha)
        tf.reduce_mean(words, axis=1, name="mean")
        tf.linalg.matvec(words, zeta, name="near")
    Path("m.pb").write_bytes(graph.as_graph_def().SerializeToString())
    return "m.pb"


def as_local_layers(place):
    """With a layer of Keras 2 that Keras 3 does not have."""
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(2)
    zeta, alpha = layers.Input((12,), name="zeta"), layers.Input((6,), dtype="int32", name="alpha")
    local = layers.Flatten()(layers.LocallyConnected1D(2, 3)(layers.Reshape((12, 1))(zeta)))
    words = layers.GlobalAveragePooling1D()(layers.Embedding(20, 4)(alpha))
    tf_keras.Model([zeta, alpha], [layers.Dense(3, name="mean")(local), layers.Concatenate()([local, words])]).save(
        "m.h5")
    return "m.h5"


def test_a_model_of_text_is_refused_in_a_line(place):
    inputs = keras.Input((1,), dtype="string", name="words")
    keras.Model(inputs, keras.layers.TextVectorization(vocabulary=["a", "b"])(inputs)).save("m.keras")
    signature = imported.signature_in_order(keras.models.load_model("m.keras"))
    np.savez("data.npz", words=np.array([["a"], ["b"], ["a"], ["c"]]))
    with pytest.raises(UserError, match="words is text, and models of text cannot be held against the original"):
        equivalence_data.write(ImportedModel(path="m.keras"), "data.npz", signature, Path("made.npz"))


@pytest.mark.parametrize("save", [pytest.param(as_saved_model, marks=pytest.mark.slow), as_tflite,
                                  as_frozen_graph, as_local_layers])
def test_a_graph_of_any_inputs_is_pressed(place, litepress, save):
    done = litepress("press", save(place), "--data", "data.npz", "--variants", "float32,int8", "--no-track", "--json",
                     "r.json")
    assert done.code == 0, done.out + done.err
    result = json.loads(Path("r.json").read_text())
    assert result["reference"]["metrics"]["largest"] < 1e-6
    of = {one["variant"]: one["metrics"] for one in result["artifacts"]}
    assert of["float32"]["largest"] < 1e-6 and 1e-5 < of["int8"]["mean"] < 0.02
    signature = LiteRTPredictor(Path(result["artifacts"][0]["path"])).signatures["serving_default"]
    assert {tensor.name for tensor in signature.inputs} == {"zeta", "alpha"}
    assert ("as a graph, " in done.out) == (save is as_local_layers)


@pytest.mark.parametrize(("arguments", "expected"), [
    (("--variants", "qat,{pruned: {epochs: 1}}"), "--variants qat, pruned: trains, and nothing is known of this model"),
    (("--task", "image_classification"), "graph must take one image and give one output"),
    (("--task", "tabular"), "graph: for tables only Keras models can be taken over, layer by layer"),
    (("--task", "tabular", "--pixels", "0..1"), "--pixels 0..1: a table has no pixels; leave it out"),
    (("--target-column", "price"), "--target-column price: only tables have one; add --task tabular")])
def test_what_needs_keras_is_one_line(place, litepress, arguments, expected):
    done = litepress("press", as_saved_model(place), "--data", "data.npz", "--no-track", *arguments)
    assert done.code == 2 and expected in done.err and len(done.err.strip().splitlines()) == 1, done.err


def test_a_tflite_file_becomes_no_saved_model(place, litepress):
    done = litepress("press", as_tflite(place), "--data", "data.npz", "--no-track", "--targets", "saved_model")
    assert done.code == 2 and "is not a Keras model; leave the target out" in done.err, done.err


def test_a_damaged_graph_is_one_line(place, litepress):
    Path("m.tflite").write_bytes(b"whatever it holds")
    done = litepress("press", "m.tflite", "--data", "data.npz", "--no-track", "--task", "equivalence")
    assert done.code == 2 and "m.tflite" in done.err and len(done.err.strip().splitlines()) == 1, done.err
