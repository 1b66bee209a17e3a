"""A table from a CSV file to verified files: missing numbers, words, scikit-learn beside the result."""
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn import linear_model, metrics

from export.delivery import golden
from export.predictors import open_predictor
from export.tflite import signatures
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe import file as recipe_file
from pipelines.tools import deploy
from tests.pipelines.tasks.tabular.conftest import RECIPE

MISSING = {"age": np.array([np.nan], "float32"), "year": np.array([2010], "float32"), "city": np.array([1], "int32"),
           "Is_member": np.array([2], "int32")}


@pytest.fixture(scope="module")
def results(people):
    return json.loads((people.folder / "r.json").read_text())


@pytest.fixture(scope="module")
def data(people):
    """Return the run's data, read where it was run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(people.folder)
        recipe = recipe_file.read(people.folder / "recipe.yaml")
        index = Index.model_validate_json((people.run / "ingest" / "index.json").read_bytes())
        yield Data(recipe.data, recipe.task, index, recipe.seed)


def test_every_file_is_as_good_as_what_was_trained(results):
    reference = results["reference"]["metrics"]
    assert reference["auc"] > 0.95
    files = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in results["artifacts"]}
    assert files["float32"]["max_error"] < 1e-4 and files["float32"]["agreement"] == 1
    assert files["int8"]["drop"]["auc"] <= 0.01 and files["int8"]["metrics"]["auc"] > 0.95
    served = files["saved_model"]["served"]
    assert set(served) == {"grpc", "rest"} and all(one["max_error"] < 1e-4 for one in served.values())


def test_scikit_learns_models_stand_beside_the_result(people, results, data):
    baselines = results["reference"]["baselines"]
    assert list(baselines) == ["logistic_regression", "gradient_boosting"]
    rows = [line.split() for line in people.printed.splitlines() if "beside:" in line]
    assert [row[1:3] for row in rows] == [["logistic", "regression"], ["gradient", "boosting"]]
    assert f"{baselines['logistic_regression']['auc']:.4f}" in rows[0]
    assert "(logistic_regression) ✓" in people.printed


def test_the_logistic_regression_is_one_fitted_by_hand_on_the_same_rows(results, data):
    def matrix(part):
        inputs, targets = data.arrays(part, data.index.splits[part].examples)
        age = np.where(np.isnan(inputs["age"]), median, inputs["age"])
        numbers = np.stack([age, inputs["year"]], axis=1).astype(float)
        words = [inputs[name][:, None] == np.unique(trained[name]) for name in ("city", "Is_member")]
        return numbers, np.concatenate(words, axis=1), targets["target"]

    trained, _ = data.arrays("train", data.index.splits["train"].examples)
    median = np.nanmedian(trained["age"])
    numbers, words, labels = matrix("train")
    mean, deviation = numbers.mean(axis=0), numbers.std(axis=0)
    model = linear_model.LogisticRegression(max_iter=5000).fit(np.hstack([(numbers - mean) / deviation, words]), labels)
    numbers, words, labels = matrix("test")
    scores = model.predict_proba(np.hstack([(numbers - mean) / deviation, words]))[:, 1]
    beside = results["reference"]["baselines"]["logistic_regression"]
    assert metrics.roc_auc_score(labels, scores) == pytest.approx(beside["auc"], abs=1e-5)
    assert ((scores > 0.5) == labels).mean() == pytest.approx(beside["accuracy"], abs=1e-5)


def test_an_integer_file_takes_missing_numbers_and_years_as_they_are(people):
    """Years lie between 1985 and 2023: on one integer scale from 0 they would be steps of eight years."""
    exact, integer = (open_predictor(people.bundle / "litert" / f"{name}.tflite") for name in ("float32", "int8"))
    stored = signatures.main((people.bundle / "litert" / "int8.tflite").read_bytes())
    assert {name: info.dtype for name, info in stored.inputs.items()} == {
        "age": "float32", "year": "float32", "city": "int32", "Is_member": "int32"}
    spread = np.ptp([exact.predict({**MISSING, "year": np.array([year], "float32")})["logits"][0, 1]
                     for year in (1990, 2020)])
    for year in (1990, 2005, 2010, 2011, 2020):
        inputs = {**MISSING, "year": np.array([year], "float32")}
        expected, answer = exact.predict(inputs)["logits"], integer.predict(inputs)["logits"]
        assert np.isfinite(answer).all() and abs(answer - expected).max() < 0.1 * spread


def test_missing_counts_as_the_median_in_every_file(people):
    model = next(one for one in json.loads((people.bundle / "model.json").read_text())["models"]
                 if one["name"] == "float32")
    age = next(one for one in model["inputs"] if one["name"] == "age")
    assert age["missing"]["give"] == "NaN"
    counts_as = {**MISSING, "age": np.array([age["missing"]["counts_as"]], "float32")}
    for name in ("float32", "int8"):
        predictor = open_predictor(people.bundle / "litert" / f"{name}.tflite")
        expected = predictor.predict(counts_as)["logits"]
        np.testing.assert_allclose(predictor.predict(MISSING)["logits"], expected, atol=1e-5)


def test_a_word_that_training_does_not_have_counts_as_an_average_one(people, data):
    """No city is rare, so nothing has taught the model what to answer to another."""
    inputs, _ = data.arrays("train", data.index.splits["train"].examples)
    shares = np.bincount(inputs["city"], minlength=6) / len(inputs["city"])
    predictor = open_predictor(people.bundle / "litert" / "float32.tflite")
    rows = [{"age": np.array([40], "float32"), "year": np.array([2005], "float32"), "Is_member": np.array([2], "int32"),
             "city": np.array([position], "int32")} for position in range(6)]
    unknown, *known = (predictor.predict(row)["logits"][0, 1] for row in rows)
    assert shares[0] == 0 and np.ptp(known) > 1
    assert abs(unknown - shares[1:] @ known) < 0.25 * np.ptp(known)


def test_the_bundle_says_what_each_column_is_and_checks_itself(people):
    described = json.loads((people.bundle / "model.json").read_text())
    city = next(one for one in described["models"][0]["inputs"] if one["name"] == "city")
    assert city["words"][0] == "(unknown)" and {"Köln", "Paris", "Rome", "Oslo", ""} == set(city["words"][1:])
    assert "city: string (batch), text, one of" in described["models"][-1]["signatures"]["serving_default"]
    samples = json.loads((people.bundle / "samples" / "expected.json").read_text())
    assert all(set(one["inputs"]["city"]) == {"text", "values"} for one in samples)
    assert all(one.passed for one in golden.check_here(people.bundle))
    kotlin = next((people.bundle / "code" / "kotlin").glob("*.kt")).read_text()
    assert "val cityWords = listOf(" in kotlin and "age: FloatArray" in kotlin
    card = (people.bundle / "MODEL_CARD.md").read_text()
    assert "It tells 2 classes apart by 4 columns" in card


def test_warm_up_asks_every_signature(people):
    from serving import request_log

    version = people.bundle / "saved_model" / "1"
    (_, content), = deploy.warm_up(version, people.bundle / "samples", "people").items()
    file = people.folder / "warm"
    file.write_bytes(content)
    kinds = {log.WhichOneof("log_type") for log in request_log.read(file)}
    assert kinds == {"predict_log", "classify_log"}


def test_the_report_has_the_importance_of_each_column(people):
    evaluation = json.loads((people.run / "evaluate" / "evaluation.json").read_text())
    table, columns = evaluation["tables"][-2:]
    assert table["title"].startswith("Importance") and {row[0] for row in table["rows"]} == set(MISSING)
    drops = [row[1] for row in table["rows"]]
    assert drops == sorted(drops, reverse=True) and drops[0] > 0.05
    assert [row[:2] for row in columns["rows"]] == [["age", "number"], ["year", "number"], ["city", "5 words"],
                                                    ["Is_member", "2 words"]]
    assert columns["rows"][0][3] > 15, "a tenth of the ages is missing"
    report = (people.run / "report.html").read_text()
    assert "Importance: what shuffling a column costs" in report and "for comparison" in report


@pytest.mark.parametrize("place", [None, "export/litert/int8.tflite",
                                   pytest.param("export/saved_model/1", marks=pytest.mark.slow)])
def test_rows_of_a_file_are_predicted(people, litepress, monkeypatch, place, tmp_path):
    monkeypatch.chdir(people.folder)
    rows = "age,year,city,Is member?\n,2023,Rome,yes\n60,2020,Atlantis,yes\n20,1986,Oslo,no\n"
    (tmp_path / "new.csv").write_text(rows)
    said = litepress("predict", people.run / place if place else people.run, tmp_path / "new.csv")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["new.csv row 1", "new.csv row 2", "new.csv row 3"]
    assert re.match(r"new\.csv row 1  good \d", lines[0]) and re.match(r"new\.csv row 3  bad \d", lines[2])


def test_rows_of_a_parquet_file_are_predicted_as_those_of_a_csv_file(people, litepress, monkeypatch, tmp_path):
    """Types of its own: whole numbers, truth values, dictionaries, what is missing, and a column more."""
    monkeypatch.chdir(people.folder)
    rows = pa.table({"city": pa.array(["Rome", None, "Atlantis"]).dictionary_encode(), "year": [2023, 1986, 2001],
                     "Is member?": ["yes", "no", None], "age": pa.array([None, 20, 60], pa.int32()), "more": [1, 2, 3]})
    pyarrow.parquet.write_table(rows, tmp_path / "new.parquet")
    (tmp_path / "new.csv").write_text("age,year,city,Is member?\n,2023,Rome,yes\n20,1986,,no\n60,2001,Atlantis,\n")
    said, expected = (litepress("predict", people.run, tmp_path / f"new.{ending}") for ending in ("parquet", "csv"))
    assert said.code == 0, said.err
    assert said.out.splitlines()[0].startswith("new.parquet row 1  good ")
    assert said.out.replace("new.parquet", "new.csv") == expected.out
    pyarrow.parquet.write_table(rows.set_column(3, "age", pa.array(["old", "20", "60"])), tmp_path / "new.parquet")
    refused = litepress("predict", people.run, tmp_path / "new.parquet")
    assert refused.code == 2 and "new.parquet row 1: age is 'old', and must be a number" in refused.err


@pytest.mark.parametrize(("rows", "message"), [
    ("age,year,city\n1,2000,Rome\n", "new.csv has no column Is member?; it has age, year, city. Where it is not known, "
                                     "add it without values"),
    ("age,year,city,Is member?\n1,2000,Rome,no\nold,2000,Rome,no\n",
     "new.csv row 2: age is 'old', and must be a number"),
    ("age,year,city,Is member?\n", "new.csv has a header and no rows")])
def test_rows_that_cannot_be_predicted_are_refused(people, litepress, monkeypatch, tmp_path, rows, message):
    monkeypatch.chdir(people.folder)
    (tmp_path / "new.csv").write_text(rows)
    said = litepress("predict", people.run / "export/litert/int8.tflite", tmp_path / "new.csv")
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(("old", "new", "message"), [
    ("target: outcome", "target: results", "data.target: the source has no column results; it has age, year"),
    ("price: ignore", "prise: ignore", "data.columns: the source has no column prise; did you mean price?"),
    ("number: median", "numbr: median", "data.columns.age: there is no kind of column called numbr. Did you mean "
                                        "number?"),
    ("builder: mlp", "builder: resnet8", "resnet8 is a builder for image_classification, and the task is tabular"),
    ("logistic_regression", "xgboost", "gates.log_loss is '<= xgboost'; give a number, or one of logistic_regression"),
    ("int8.drop: \"<= 0.01\"", "int8.bytes: \"<= gradient_boosting\"", "gradient_boosting has auc, accuracy")])
def test_mistakes_in_a_recipe_are_named_in_a_line(people, litepress, monkeypatch, tmp_path, old, new, message):
    monkeypatch.chdir(people.folder)
    assert old in RECIPE
    text = RECIPE.replace(old, new).replace(", units: [16]", "" if "resnet" in new else ", units: [16]")
    (tmp_path / "recipe.yaml").write_text(text)
    said = litepress("check", tmp_path / "recipe.yaml")
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1, said.err
