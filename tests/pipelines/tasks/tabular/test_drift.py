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
def log(tmp_path, monkeypatch):
    """Writes people.csv and a log of requests: years of another decade, all else as in training."""
    monkeypatch.chdir(tmp_path)
    write_people(tmp_path / "people.csv", 300)
    generator = np.random.default_rng(3)
    age = generator.normal(40, 12, ASKED).astype("float32")
    age[generator.random(ASKED) < 0.1] = np.nan
    cities = np.array([name.encode() for name in ("Köln", "Paris", "Rome", "Oslo")], object)
    city = generator.choice(cities, ASKED, p=[0.4, 0.3, 0.2, 0.1])
    columns = {"age": age, "year": generator.integers(2030, 2060, ASKED).astype("float32"), "city": city,
               "Is_member": np.where(generator.random(ASKED) < 0.4, b"yes", b"no").astype(object)}
    with tf.io.TFRecordWriter(str(tmp_path / "log")) as writer:
        predict = prediction_log_pb2.PredictionLog()
        for name, values in columns.items():
            tensors.to_proto(values[:60], predict.predict_log.request.inputs[name])
        classify = prediction_log_pb2.PredictionLog()
        for number in range(60, ASKED):
            example = classify.classify_log.request.input.example_list.examples.add()
            for name, values in columns.items():
                feature = example.features.feature[name]
                if values.dtype == object:
                    feature.bytes_list.value.append(values[number])
                else:
                    feature.float_list.value.append(values[number])
        for message in (predict, classify):
            writer.write(message.SerializeToString())
    return tmp_path / "log"


def test_the_column_that_moved_is_named(log, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    written = recipe_file.read(tmp_path / "recipe.yaml").written()
    result = drift(written, [log], 1000, tmp_path / "drift.png")
    assert result.examples == ASKED
    shifts = {shift.name: shift for shift in result.shifts}
    assert set(shifts) == {"age value", "year value", "city position", "Is_member position"}
    assert shifts["year value"].verdict == "drift" and shifts["year value"].logged > 2030
    assert all(shifts[name].index < 0.25 for name in shifts if name != "year value")
    assert (tmp_path / "drift.png").stat().st_size > 1000


def test_more_missing_numbers_are_drift():
    generator = np.random.default_rng(0)
    before, after = generator.normal(size=1000), generator.normal(size=1000)
    assert stability(before, after) < 0.05
    after[:400] = np.nan
    assert stability(before, after) > 0.25
