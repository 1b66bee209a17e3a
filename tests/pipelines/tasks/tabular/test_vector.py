"""A run whose files for devices take a table's columns as one vector."""
import json

import numpy as np
import pytest

from export.delivery import golden
from export.predictors import open_predictor
from export.tflite import signatures
from tests.conftest import run_here
from tests.pipelines.tasks.tabular.conftest import RECIPE, People, write_people

pytestmark = pytest.mark.slow

COLUMNS = ["age", "year", "city", "Is_member"]
FILES = ["float32", "int8"]


@pytest.fixture(scope="module")
def vector(tmp_path_factory):
    """Return a run of people.csv whose files take vectors, and its results. Tests must not change it."""
    folder = tmp_path_factory.mktemp("vector")
    write_people(folder / "people.csv", 200)
    settings = (("task: tabular", "task: {tabular: {vector: true}}"),
                ('log_loss: "<= logistic_regression"', 'auc: ">= 0.9"'),
                ('int8.drop: "<= 0.01"', 'int8.drop: "<= 0.03"'))
    text = RECIPE
    for old, new in settings:
        assert old in text
        text = text.replace(old, new)
    (folder / "recipe.yaml").write_text(text)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder)
    assert done.code == 0, done.out + done.err
    return People(folder, done.out)


@pytest.fixture(scope="module")
def inputs_described(vector):
    described = json.loads((vector.bundle / "model.json").read_text())
    return next(one["inputs"] for one in described["models"] if one["name"] == "float32")


def file_of(vector, name):
    return vector.bundle / "litert" / f"{name}.tflite"


def test_files_take_one_vector_and_answer_as_what_was_trained(vector):
    results = json.loads((vector.folder / "r.json").read_text())
    errors = {one["variant"]: one["max_error"] for one in results["artifacts"] if one["target"] == "litert"}
    assert list(errors) == FILES and errors["float32"] < 1e-4
    for name in FILES:
        stored = signatures.main(file_of(vector, name).read_bytes())
        taken = {one: (info.dtype, info.shape) for one, info in stored.inputs.items()}
        assert taken == {"columns": ("float32", (1, 4))}
    assert all(one.passed for one in golden.check_here(vector.bundle))


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_counts_in_a_vector_as_documented(vector, inputs_described, name):
    documented, = inputs_described
    assert [column["name"] for column in documented["columns"]] == COLUMNS
    age, year = (column["missing"]["counts_as"] for column in documented["columns"][:2])
    predictor = open_predictor(file_of(vector, name))
    missing = predictor.predict({"columns": np.array([[np.nan, np.nan, 1, 2]], "float32")})["logits"]
    given = predictor.predict({"columns": np.array([[age, year, 1, 2]], "float32")})["logits"]
    other = predictor.predict({"columns": np.array([[age, 1986, 1, 2]], "float32")})["logits"]
    assert np.isfinite(missing).all() and abs(other - given).max() > 0.1
    np.testing.assert_allclose(missing, given, atol=1e-5)


def test_each_position_of_the_vector_is_documented(vector, inputs_described):
    documented, = inputs_described
    assert documented["name"] == "columns" and documented["shape"] == [1, 4] and documented["dtype"] == "float32"
    columns = documented["columns"]
    assert [column["position"] for column in columns] == [0, 1, 2, 3]
    assert set(columns[2]["words"]) == {"(unknown)", "Köln", "Paris", "Rome", "Oslo", ""}
    assert columns[3]["words"] == ["(unknown)", "no", "yes"] and columns[0]["missing"]["give"] == "NaN"
    for language, declaration in (("kotlin", "val"), ("swift", "static let")):
        code = next((vector.bundle / "code" / language).iterdir()).read_text()
        assert f"{declaration} cityWords = " in code and f"{declaration} Is_memberWords = " in code
        assert "0 age, 1 year, 2 city, 3 Is_member" in code


@pytest.mark.parametrize("place", [None, "export/litert/int8.tflite", "export/saved_model/1"])
def test_rows_of_a_file_are_predicted(vector, litepress, monkeypatch, tmp_path, place):
    monkeypatch.chdir(vector.folder)
    (tmp_path / "new.csv").write_text("age,year,city,Is member?\n,2023,Rome,yes\n60,2020,Atlantis,yes\n20,1986,,no\n")
    said = litepress("predict", vector.run / place if place else vector.run, tmp_path / "new.csv")
    assert said.code == 0, said.err
    assert [line.split()[3] for line in said.out.splitlines()] == ["good", "good", "bad"]
