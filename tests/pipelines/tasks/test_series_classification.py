"""Series classification: its baselines, own files, and a run that tells waves apart."""
import json

import numpy as np
import pytest
from sklearn import metrics, neighbors

from pipelines.errors import UserError
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.series_classification import SeriesClassification, measured

STEPS = 32


@pytest.fixture
def waves(tmp_path):
    """Return a folder of slow and fast waves, of any phase, of which a nearest neighbour knows little."""
    drawn = np.random.default_rng(0)
    (tmp_path / "Waves").mkdir()
    for part, count in (("TRAIN", 80), ("TEST", 40)):
        lines = ["@classLabel true slow fast", "@data"]
        for number in range(count):
            period = 5 if number % 2 else 8
            wave = np.sin(2 * np.pi * (np.arange(STEPS) / period + drawn.uniform())) + drawn.normal(0, 0.2, STEPS)
            lines.append(",".join(f"{value:.4f}" for value in 50 + 10 * wave) + (":fast" if number % 2 else ":slow"))
        (tmp_path / "Waves" / f"Waves_{part}.ts").write_text("\n".join(lines))
    return tmp_path / "Waves"


def data_of(folder):
    task = SeriesClassification()
    section = DataSection(source={"ts": str(folder)}, batch=16)
    return Data(section, task, build_index(section, task, 0), 0)


def test_the_nearest_neighbour_is_scikit_learns(waves):
    data = data_of(waves)
    train, classes = data.arrays("train", data.index.splits["train"].examples)
    test, labels = data.arrays("test", 40)
    nearest = neighbors.KNeighborsClassifier(1).fit(train["series"][..., 0], classes["label"])
    beside = measured(data)
    expected = metrics.accuracy_score(labels["label"], nearest.predict(test["series"][..., 0]))
    assert beside["nearest_neighbour"]["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert beside["majority"]["accuracy"] == 0.5


def test_own_series_must_be_as_long_as_those_of_training(waves, tmp_path):
    data = data_of(waves)
    names, inputs = data.task.rows_of(waves / "Waves_TEST.ts", {}, data.index)
    assert len(names) == 40 and inputs["series"].shape == (40, STEPS, 1)
    (tmp_path / "short.ts").write_text("@data\n1,2,3\n")
    with pytest.raises(UserError, match="has series of 3 steps and 1 variables; the model takes"):
        data.task.rows_of(tmp_path / "short.ts", {}, data.index)


@pytest.mark.slow
def test_a_run_tells_waves_apart_in_every_file(waves, tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "waves.yaml").write_text("""\
name: waves
task: series_classification
data: {source: {ts: Waves}, batch: 8}
model: {builder: tcn, units: 8, depth: 3, kernel: 3}
train: {epochs: 25, schedule: {cosine: 0.01}}
compress: {variants: [float32, int8]}
export: {targets: [litert]}
verify: {runs: 10}
gates: {accuracy: "> majority", int8.drop: "<= 0.05"}
""")
    said = litepress("run", "waves.yaml")
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "runs/waves/latest/results.json").read_text())
    assert results["reference"]["metrics"]["accuracy"] >= 0.9
