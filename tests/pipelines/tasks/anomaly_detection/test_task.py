"""The task: what it takes and refuses, what it learns from, its threshold, and a run on a series with spikes."""
import json

import keras
import numpy as np
import pytest

import models
from models.series import Series
from models.series_anomaly import set_threshold
from pipelines.errors import UserError
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.anomaly_detection import AnomalyDetection
from pipelines.training.losses import Loss

SPIKES = (700, 701, 702, 850)


@pytest.fixture
def wave(tmp_path):
    """Return the path of a sine with a little noise, 1,000 steps, and four spikes in its last third, labelled."""
    steps = np.arange(1000)
    values = np.sin(2 * np.pi * steps / 25) + np.random.default_rng(0).normal(0, 0.05, 1000)
    odd = np.isin(steps, SPIKES)
    values[odd] += 3
    lines = [f"{value},{int(label)}" for value, label in zip(values, odd, strict=True)]
    (tmp_path / "wave.csv").write_text("\n".join(["x,odd", *lines]))
    return tmp_path / "wave.csv"


def data_of(path, task=None, **settings):
    task = task or AnomalyDetection()
    source = {"path": str(path), "label": "odd", "window": 16, "horizon": 0, **settings}
    section = DataSection(source={"series_table": source}, batch=32)
    return Data(section, task, build_index(section, task, 0), 0)


def model_of(data, **settings):
    keras.utils.set_random_seed(0)
    return models.build("lstm_predictor", **data.task.dimensions(data.index), units=(4,), recent=2, **settings)


@pytest.mark.parametrize("name", ["lstm_predictor", "lstm_autoencoder"])
def test_a_score_is_the_mean_error_by_the_threshold(name):
    keras.utils.set_random_seed(0)
    series = Series(window=12, means=(5.0,), deviations=(2.0,), horizon=0)
    model = models.build(name, series=series, units=(4,), recent=3)
    given = np.random.default_rng(0).normal(5, 2, (6, 12, 1)).astype("float32")
    layer = {"lstm_predictor": "foreseen", "lstm_autoencoder": "rebuilt"}[name]
    inner = keras.Model(model.input, model.get_layer(layer).output)
    answers = np.asarray(inner(given)).reshape(6, -1)[:, -3:]
    expected = np.abs(answers - (given[:, -3:, 0] - 5) / 2).mean(axis=1)
    assert np.asarray(model(given)["score"]) == pytest.approx(expected, rel=1e-4)
    set_threshold(model, 0.25)
    assert np.asarray(model(given)["score"]) == pytest.approx(4 * expected, rel=1e-4)


def test_the_threshold_is_set_by_ordinary_validation_windows(wave):
    data = data_of(wave, AnomalyDetection(quantile=0.9, margin=2.0), validation="690", test="800")
    model = model_of(data)
    scores = np.concatenate([np.asarray(model(inputs)["score"])[targets["label"] == 0]
                             for inputs, targets in data.batches("validation")])
    assert len(scores) == 107  # of 110 windows that end there
    (line,) = data.task.finish(model, data)
    after = np.concatenate([np.asarray(model(inputs)["score"])[targets["label"] == 0]
                            for inputs, targets in data.batches("validation")])
    assert "by 107 ordinary validation windows" in line
    assert after == pytest.approx(scores / (2 * np.quantile(scores, 0.9)), rel=1e-4)


def test_labelled_windows_are_not_learnt_from():
    task = AnomalyDetection()
    objective = task.objective(Loss.read("mae"), None)
    targets = {"label": keras.ops.array([[1.0, 0.0], [0.0, 1.0]])}
    assert np.asarray(objective({}, targets, {"score": keras.ops.array([0.5, 7.0])})).tolist() == [0.5, 0.0]


def test_a_loss_that_nothing_would_use_is_refused():
    with pytest.raises(UserError, match=r"train\.loss: anomaly_detection learns .* not by huber; leave it out"):
        AnomalyDetection().objective(Loss.read("huber"), None)


def test_windows_know_of_which_series_they_are(tmp_path):
    lines = [f"{pump},{value},{int(step == 59)}" for pump, value in (("a", 1), ("b at night", 2))
             for step in range(60)]
    (tmp_path / "pumps.csv").write_text("\n".join(["pump,x,odd", *lines]))
    data = data_of(tmp_path / "pumps.csv", series="pump", columns="x")
    (inputs, targets), = data.batches("test")
    levels = inputs["past"][:, 0, 0]
    owners = targets["owner"]
    assert len(set(owners)) == 2
    assert len(set(zip(levels.tolist(), owners.tolist(), strict=True))) == 2, "one number a series"


@pytest.mark.parametrize(("settings", "message"), [
    ({"label": None}, "no column says which steps are anomalies"),
    ({"horizon": 3}, "set horizon: 0, and leave known and calendar out")])
def test_what_cannot_be_measured_is_refused(wave, settings, message):
    with pytest.raises(UserError, match=message):
        data_of(wave, **settings)


def test_a_predictor_needs_steps_to_foresee_from():
    with pytest.raises(ValueError, match="foresees the last 8 of 8 steps, and has none before them"):
        models.build("lstm_predictor", series=Series(window=8, horizon=0))


def test_each_window_of_an_own_series_is_asked(wave, tmp_path):
    data = data_of(wave)
    (tmp_path / "own.csv").write_text("\n".join(["x", *map(str, range(20))]))
    names, inputs = data.task.rows_of(tmp_path / "own.csv", {}, data.index, data.section.source)
    assert names[0] == "own at 15" and len(names) == 5
    assert inputs["past"][1, :, 0].tolist() == list(range(1, 17))
    (tmp_path / "own.csv").write_text("x\n1\n2\n")
    with pytest.raises(UserError, match="no series has the 16 steps without a gap"):
        data.task.rows_of(tmp_path / "own.csv", {}, data.index, data.section.source)


@pytest.mark.slow
def test_a_run_finds_spikes_in_every_file(wave, tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spikes.yaml").write_text("""\
name: spikes
task: anomaly_detection
data:
  source: {series_table: {path: wave.csv, label: odd, window: 26, horizon: 0, validation: "600", test: "680"}}
  batch: 32
model: {builder: lstm_predictor, units: [16], recent: 1}
train: {epochs: 15, schedule: {cosine: 0.01}}
compress: {variants: [float32, int8]}
export: {targets: [litert]}
verify: {runs: 10}
gates: {auc: ">= 0.95", int8.drop: "<= 0.02"}
""")
    said = litepress("run", "spikes.yaml")
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "runs/spikes/latest/results.json").read_text())
    assert results["reference"]["metrics"]["found"] == 1.0
