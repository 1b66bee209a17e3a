"""The task: what it takes, what it learns, and a run from a series to files."""
import json

import keras
import numpy as np
import pytest
from sklearn import metrics

from pipelines.errors import UserError
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.forecasting import Forecasting
from pipelines.training.losses import Loss

RECIPE = """\
name: cycle
task: {forecasting: [0.1, 0.5, 0.9]}
data:
  source: {sunspots: {window: 22, horizon: 3, calendar: day_of_year}}
  batch: 32
model: {builder: dlinear, kernel: 5, level: mean}
train:
  epochs: 40
  optimizer: {adamw: {weight_decay: 0.05}}
  schedule: {cosine: 0.005}
compress: {variants: [float32, int8]}
export: {targets: [litert]}
verify: {runs: 10}
gates:
  mase: "< exponential_smoothing"
  int8.drop: "<= 0.05"
"""


def index_of(task, **settings):
    section = DataSection(source={"sunspots": {"window": 22, "horizon": 3, **settings}})
    return build_index(section, task, 0)


def test_the_pinball_loss_is_scikit_learns_in_units_of_the_scale():
    levels = (0.1, 0.5, 0.9)
    task = Forecasting(quantiles=levels)
    drawn = np.random.default_rng(0)
    truth = drawn.normal(size=(4, 3, 1)).astype("float32")
    answers = drawn.normal(size=(4, 3, 1, 3)).astype("float32")
    scale = np.full((4, 1), 2.0, "float32")
    objective = task.objective(Loss.read("pinball"), index_of(task))
    result = np.asarray(objective({}, {"future": keras.ops.array(truth), "scale": keras.ops.array(scale)},
                                  {"forecast": keras.ops.array(answers)}))
    expected = [np.mean([metrics.mean_pinball_loss(truth[row].ravel() / 2, answers[row, ..., number].ravel() / 2,
                                                   alpha=level) for number, level in enumerate(levels)])
                for row in range(4)]
    assert result == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_numbers_is_refused_for_quantiles():
    task = Forecasting(quantiles=(0.1, 0.9))
    with pytest.raises(UserError, match=r"train.loss: mse compares numbers, and the task answers quantiles"):
        task.objective(Loss.read("mse"), index_of(task))


def test_builders_get_the_statistics_of_the_training_part():
    task = Forecasting()
    index = index_of(task)
    given = task.dimensions(index)["series"]
    source = DataSection(source={"sunspots": {"window": 22, "horizon": 3}}).source
    starts = source.cut().windows.starts["train"]
    windows = np.stack([source.cut().series[0].values[start:start + 22, 0] for start in starts.tolist()])
    assert given.means == pytest.approx([windows.mean()], rel=1e-5)
    assert given.deviations == pytest.approx([windows.std()], rel=1e-5)
    assert (given.window, given.horizon, given.targets, given.quantiles) == (22, 3, 1, 0)


@pytest.mark.parametrize(("source", "message"), [
    ({"sunspots": {"horizon": 0}}, "horizon is 0, and forecasting looks ahead"),
    ("digits", "digits has no series; forecasting takes")])
def test_what_cannot_be_forecast_is_refused(source, message):
    section = DataSection(source=source)
    with pytest.raises(UserError, match=message):
        Forecasting().features_of(section, section.source.fields())


@pytest.mark.parametrize(("task", "message"), [
    ("{forecasting: [0.9, 0.1]}", "give quantiles that ascend"),
    ("{forecasting: [0.1, 1.5]}", "less than 1")])
def test_quantiles_that_are_none_are_refused_with_their_line(task, message, tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(RECIPE.replace("{forecasting: [0.1, 0.5, 0.9]}", task))
    said = litepress("check", "bad.yaml")
    assert said.code == 2 and message in said.err and "bad.yaml:2" in said.err


@pytest.mark.slow
def test_a_loop_is_written_out_where_a_recipe_is_checked(tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gru.yaml").write_text(RECIPE.replace(
        "{builder: dlinear, kernel: 5, level: mean}", "{builder: series_gru, units: [4]}"))
    said = litepress("check", "gru.yaml")
    assert said.code == 0 and "int8" in said.out, said.err


@pytest.mark.slow
def test_a_run_beats_its_baselines_in_every_file(tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cycle.yaml").write_text(RECIPE)
    said = litepress("run", "cycle.yaml")
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "runs/cycle/latest/results.json").read_text())
    known = results["reference"]["metrics"]
    assert known["mase"] < results["reference"]["baselines"]["seasonal_naive"]["mase"]
    assert 0 < known["coverage"] < 1
    assert (tmp_path / "runs/cycle/latest/evaluate/figures/forecasts.png").stat().st_size > 5000
    years = [f"{1980 + year}-01-01,{50 + 40 * np.sin(year):.1f}" for year in range(30)]
    (tmp_path / "own.csv").write_text("\n".join(["year,sunactivity", *years]))
    said = litepress("predict", "runs/cycle/latest", "own.csv")
    assert said.code == 0 and "own from 2010-01-01" in said.out
