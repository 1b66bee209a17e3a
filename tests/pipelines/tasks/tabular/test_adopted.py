"""Models of tables that were made elsewhere, measured as tables are."""
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets
import tf_keras

from export.keras_models import imported
from pipelines.errors import UserError
from pipelines.tasks.tabular.adopted import adopted
from pipelines.tools import table_data

L = keras.layers
ROWS = np.random.default_rng(0).normal(5, 3, (20, 3)).astype("float32")
NAMES = ("a", "b", "c")


def normalized(invert=False):
    layer = L.Normalization(invert=invert, name="first")
    layer.adapt(ROWS * [1, 100, 0.01])
    return [layer]


@pytest.mark.parametrize("begin", [list, normalized, lambda: normalized(True), lambda: [*normalized(), *normalized()]])
@pytest.mark.parametrize(("end", "classifies"), [
    (lambda: L.Dense(4, activation="softmax"), True), (lambda: L.Dense(1, activation="sigmoid"), True),
    (lambda: L.Dense(1), False)])
def test_a_vector_becomes_named_columns(begin, end, classifies):
    keras.utils.set_random_seed(1)
    first = begin()
    for number, layer in enumerate(first):
        layer.name = f"first_{number}"
    model = keras.Sequential([keras.Input((3,)), *first, L.Dense(4, activation="relu"), end()])
    given = ROWS * np.float32([1, 100, 0.01])
    expected = np.asarray(model(given))
    result = adopted(model, NAMES, "y", classifies)
    answered = np.asarray(result({name: given[:, number] for number, name in enumerate(NAMES)})["y"])
    if not classifies:
        np.testing.assert_allclose(answered, expected[:, 0], rtol=1e-4)
        return
    probabilities = np.asarray(keras.ops.softmax(answered))
    np.testing.assert_allclose(probabilities[:, 1:] if expected.shape[1] == 1 else probabilities, expected, atol=1e-5)
    if first:  # what scales columns comes before they are one vector
        kinds = [type(operation).__name__ for operation in result.operations]
        assert kinds.count("Normalization") == len(first) - 1


def test_a_normalization_in_two_places_stays():
    (twice,) = normalized()
    inputs = keras.Input((3,))
    model = keras.Model(inputs, L.Dense(1)(twice(twice(inputs))))
    result = adopted(model, NAMES, "value", False)
    answered = result({name: ROWS[:, number] for number, name in enumerate(NAMES)})["value"]
    np.testing.assert_allclose(answered, np.asarray(model(ROWS))[:, 0], rtol=1e-4)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_model_of_one_input_a_column_is_taken(shape):
    inputs = [keras.Input(shape, name=name) for name in ("b", "a")]
    taken = [tensor if shape else keras.ops.expand_dims(tensor, -1) for tensor in inputs]
    model = keras.Model(inputs, L.Dense(1)(L.Concatenate()(taken)))
    expected = np.asarray(model([ROWS[:, 1].reshape(-1, *shape), ROWS[:, 0].reshape(-1, *shape)]))
    result = adopted(model, ("b", "a"), "value", False)
    np.testing.assert_allclose(result({"a": ROWS[:, 0], "b": ROWS[:, 1]})["value"], expected[:, 0], rtol=1e-6)


@pytest.mark.parametrize(("model", "columns", "expected"), [
    (lambda: keras.Sequential([keras.Input((3,)), L.Dense(1)]), (), "say which columns the model takes"),
    (lambda: keras.Sequential([keras.Input((3,)), L.Dense(1)]), ("a", "b"), "it must be one vector of 2 numbers"),
    (lambda: keras.Sequential([keras.Input((3, 1)), L.Dense(1)]), NAMES, r"takes \(batch, 3, 1\)"),
    (lambda: keras.Sequential([keras.Input((3,)), L.Reshape((3, 1))]), NAMES, "must be one number per example"),
    (lambda: keras.Sequential([keras.Input((3,)), L.Dense(2)]), NAMES, "must be one number per example"),
    (lambda: keras.Sequential([keras.Input((3,)), L.Dense(1, name="b")]), NAMES, "has a layer b, as a column is")])
def test_other_models_are_refused(model, columns, expected):
    with pytest.raises(ValueError, match=expected):
        adopted(model(), columns, "value", False)


TABLE = "age,name,b m i,target\n1,x,2.5,0\n3,y,1.5,1\n2,z,0.5,1\n4,x,9.5,0\n"


@pytest.mark.parametrize(("table", "inputs", "target", "expected"), [
    (TABLE, {"age": (1,), "size": (1,)}, "target", "no column of numbers size, which the model takes; it has age, b m"),
    (TABLE, {"x": (3,)}, "target", r"takes one vector, \(batch, 3\), and the table has 2 columns of numbers"),
    (TABLE.replace("3,y", "n/a?,y"), {"x": (2,)}, "target", r"Not of numbers: .*n/a\?"),
    (TABLE, {"x": (2,)}, "price", "has no column price; name the one that the model answers with --target-column"),
    (TABLE.replace("1.5", ""), {"x": (2,)}, "target", "t.csv row 2: b m i is missing, and the model does not say"),
    (TABLE, {"x": (2, 1)}, "target", r"takes x \(batch, 2, 1\); it must be one vector"),
    ("", {"x": (2,)}, "target", "t.csv is empty")])
def test_a_table_that_does_not_fit_is_refused(tmp_path, monkeypatch, table, inputs, target, expected):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(table)
    model = keras.Model(taken := [keras.Input(shape, name=name) for name, shape in inputs.items()],
                        L.Dense(1)(taken[0]))
    with pytest.raises(UserError, match=expected):
        table_data.sections("t.csv", imported.signature_in_order(model), target, True)


def test_columns_that_a_model_does_not_take_are_ignored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLE)
    model = keras.Model(taken := [keras.Input((1,), name="b_m_i")], L.Dense(1)(taken[0]))
    section, columns = table_data.sections("t.csv", imported.signature_in_order(model), "target", True)
    assert columns == ["b_m_i"] and section["columns"] == {"name": "ignore", "age": "ignore"}
    Path("one.csv").write_text("size,target\n1,0\n2,1\n3,1\n")
    assert table_data.sections("one.csv", imported.signature_in_order(
        keras.Sequential([keras.Input((1,)), L.Dense(1)])), "target", True)[1] == ["size"]
    with pytest.raises(UserError, match="this is no table"):
        table_data.sections("digits", imported.signature_in_order(model), "target", True)


@pytest.mark.slow
def test_classes_in_another_order_are_noticed(tmp_path, monkeypatch, litepress):
    """scikit-learn has malignant before benign, the words benign before malignant."""
    monkeypatch.chdir(tmp_path)
    data = sklearn.datasets.load_breast_cancer()
    keras.utils.set_random_seed(1)
    first = L.Normalization()
    first.adapt(data.data)
    model = keras.Sequential([keras.Input((30,)), first, L.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    for name, targets in (("theirs", data.target), ("ours", 1 - data.target)):
        model.fit(data.data, targets, epochs=20, verbose=0)
        model.save(f"{name}.keras")
    arguments = ("--data", "breast_cancer", "--task", "tabular", "--variants", "float32,int8", "--targets", "litert",
                 "--no-track", "--json", "r.json")
    done = litepress("press", "theirs.keras", *arguments)
    assert done.code == 0, done.out + done.err
    assert "in another order than the data's" in done.out and "where its classes are malignant, benign" in done.out
    done = litepress("press", "ours.keras", *arguments)
    assert done.code == 0 and "another order" not in done.out
    result = json.loads(Path("r.json").read_text())
    assert result["reference"]["metrics"]["auc"] > 0.98
    assert all(one["metrics"]["auc"] > 0.98 for one in result["artifacts"])


@pytest.mark.slow
def test_a_model_of_keras_2_is_measured_on_a_table(tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    data = sklearn.datasets.load_diabetes(scaled=False)
    lines = [",".join([*data.feature_names, "progression"]),
             *(",".join(map(repr, [*map(float, row), float(target)])) for row, target in zip(data.data, data.target,
                                                                                             strict=True))]
    Path("diabetes.csv").write_text("\n".join(lines) + "\n")
    tf_keras.utils.set_random_seed(1)
    first = tf_keras.layers.Normalization()
    first.adapt(data.data)
    model = tf_keras.Sequential([tf_keras.layers.Input((10,)), first, tf_keras.layers.Dense(16, activation="relu"),
                                 tf_keras.layers.Dense(1)])
    model.compile(tf_keras.optimizers.Adam(0.05), "mse")
    model.fit(data.data, data.target, epochs=20, batch_size=64, verbose=0)
    model.save("m.h5")
    done = litepress("press", "m.h5", "--data", "diabetes.csv", "--task", "tabular: regression", "--target-column",
                     "progression", "--variants", "float32,int8", "--targets", "litert", "--no-track", "--json",
                     "r.json")
    assert done.code == 0, done.out + done.err
    result = json.loads(Path("r.json").read_text())
    of = {one["variant"]: one["metrics"]["rmse"] for one in result["artifacts"]}
    reference = result["reference"]["metrics"]["rmse"]
    assert 30 < reference < 62
    assert of["float32"] == pytest.approx(reference, rel=1e-5) and of["int8"] < 1.01 * reference
    assert "beside: linear regression" in done.out
    manifest = (Path(result["artifacts"][0]["path"]).parents[2] / "package/bundle/model.json").read_text()
    assert "NaN" not in manifest, "nothing stands for missing numbers in a model made elsewhere"
    Path("other.csv").write_text("\n".join(",".join(reversed(line.split(","))) for line in lines))
    mixed = litepress("press", "m.h5", "--data", "other.csv", "--task", "tabular: regression", "--target-column",
                      "progression", "--variants", "float32", "--targets", "litert", "--no-track")
    assert mixed.code == 0 and "far worse than linear regression: are the columns in the order" in mixed.out, mixed.out
    assert "It is given s6, s5" in mixed.out
    wrong = litepress("press", "m.h5", "--data", "diabetes.csv", "--task", "tabular: numbers", "--no-track")
    assert wrong.code == 2 and 'say tabular, of a class, or "tabular: regression", of a number' in wrong.err
