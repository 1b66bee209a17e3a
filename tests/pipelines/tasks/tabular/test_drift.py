"""Drift of a table: each column by itself, missing numbers too."""
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from pipelines.recipe import file as recipe_file
from pipelines.tools.drift import drift, stability
from serving import tensors
from tests.pipelines.tasks.tabular.conftest import RECIPE, write_people

ASKED = 120


@pytest.fixture
def columns(tmp_path, monkeypatch):
    """Writes people.csv; gives what is asked: years of another decade, all else as in training."""
    monkeypatch.chdir(tmp_path)
    write_people(tmp_path / "people.csv", 300)
    generator = np.random.default_rng(3)
    age = generator.normal(40, 12, ASKED).astype("float32")
    age[generator.random(ASKED) < 0.1] = np.nan
    cities = np.array([name.encode() for name in ("Köln", "Paris", "Rome", "Oslo", "")], object)
    city = generator.choice(cities, ASKED, p=[0.38, 0.29, 0.19, 0.09, 0.05])
    return {"age": age, "year": generator.integers(2030, 2060, ASKED).astype("float32"), "city": city,
            "Is_member": np.where(generator.random(ASKED) < 0.4, b"yes", b"no").astype(object)}


def fill(examples, columns, rows):
    """Add rows as Examples, which leave out what is missing."""
    for number in rows:
        example = examples.add()
        for name, values in columns.items():
            if values.dtype == object and values[number]:
                example.features.feature[name].bytes_list.value.append(values[number])
            elif values.dtype != object and not np.isnan(values[number]):
                example.features.feature[name].float_list.value.append(values[number])


def write(path, *logs):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return path


@pytest.fixture
def log(columns, tmp_path):
    """Half of the rows asked of Predict, half of Classify, which calls nine in ten good."""
    predict, classify = prediction_log_pb2.PredictionLog(), prediction_log_pb2.PredictionLog()
    for name, values in columns.items():
        tensors.to_proto(values[:60], predict.predict_log.request.inputs[name])
    fill(classify.classify_log.request.input.example_list.examples, columns, range(60, ASKED))
    for number in range(60, ASKED):
        answer = classify.classify_log.response.result.classifications.add()
        answer.classes.add(label="bad" if number % 10 == 0 else "good", score=0.8)
        answer.classes.add(label="good" if number % 10 == 0 else "bad", score=0.2)
    return write(tmp_path / "log", predict, classify)


def test_the_column_that_moved_is_named(log, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    written = recipe_file.read(tmp_path / "recipe.yaml").written()
    result = drift(written, [log], 1000, tmp_path / "drift.png")
    assert result.examples == ASKED
    shifts = {shift.name: shift for shift in result.shifts}
    assert set(shifts) == {"age value", "year value", "city position", "Is_member position", "classes"}
    assert shifts["year value"].verdict == "drift" and shifts["year value"].logged > 2030
    assert all(shifts[name].index < 0.25 for name in shifts if name not in ("year value", "classes"))
    assert result.classes["bad"][1] == pytest.approx(0.1) and shifts["classes"].verdict == "drift"
    assert (tmp_path / "drift.png").stat().st_size > 1000


def test_requests_to_regress_are_read_and_what_they_leave_out_is_missing(columns, tmp_path):
    """Another model's examples, which have none of the columns, are left out."""
    columns["age"][:ASKED // 2] = np.nan
    regress, other = prediction_log_pb2.PredictionLog(), prediction_log_pb2.PredictionLog()
    fill(regress.regress_log.request.input.example_list.examples, columns, range(ASKED))
    for _ in range(ASKED):
        regress.regress_log.response.result.regressions.add(value=1e6)
    with_context = other.regress_log.request.input.example_list_with_context
    with_context.context.features.feature["height"].float_list.value.append(1.8)
    with_context.examples.add()
    text = RECIPE.replace("task: tabular", "task: {tabular: regression}").replace("target: outcome", "target: price")
    text = text.replace("price: ignore", "outcome: ignore")
    (tmp_path / "recipe.yaml").write_text(text[:text.index("gates")])
    written = recipe_file.read(tmp_path / "recipe.yaml").written()
    result = drift(written, [write(tmp_path / "log", regress, other)], 1000, None)
    shifts = {shift.name: shift for shift in result.shifts}
    assert result.examples == ASKED
    assert shifts["age value"].verdict == "drift", "half of the ages are missing"
    assert shifts["city position"].verdict == "none"
    assert shifts["target"].verdict == "drift" and shifts["target"].logged == pytest.approx(1e6)


def test_more_missing_numbers_are_drift():
    generator = np.random.default_rng(0)
    before, after = generator.normal(size=1000), generator.normal(size=1000)
    assert stability(before, after) < 0.05
    after[:400] = np.nan
    assert stability(before, after) > 0.25
