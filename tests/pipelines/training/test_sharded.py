"""A model that is divided among devices learns what it learns on one, and each holds its part alone."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipelines.engine import journal
from pipelines.engine.display import Display
from pipelines.errors import StageError, UserError
from pipelines.recipe import file as recipe_file
from pipelines.runner import Options, Runner
from pipelines.stages import STAGES
from pipelines.stages.sharded_worker import _misfit, divided
from pipelines.tools.short_training import data_of
from pipelines.training import network, sharded
from pipelines.training.section import TrainSection

RECIPE = """
name: divided
task: language_model
data:
  source: {text_lines: {path: words.txt, window: 32}}
  tokens: {tokenizer: character, length: 32}
  batch: 8
model: {builder: gpt, depth: 2, units: 32, heads: 4, dropout: 0}
train: {epochs: 2, optimizer: adam, schedule: {constant: 0.003}, strategy: one}
"""


def write(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcdefghij"), generator.integers(2, 6))) for _ in range(40)]
    (folder / "words.txt").write_text(" ".join(generator.choice(words, 1000)))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


def run(folder: Path, *settings: str) -> list[float]:
    """Return the losses of a run's epochs."""
    command = [str(Path(sys.executable).with_name("litepress")), "run", "recipe.yaml", "--no-track", "--until", "train"]
    subprocess.run([*command, *settings], cwd=folder, env={**os.environ, "LITEPRESS_VIRTUAL_CPUS": "4"}, check=True,
                   capture_output=True, text=True)
    series = journal.series(folder / "runs/divided/latest/train/journal.jsonl")
    return [series["loss"][epoch] for epoch in sorted(series["loss"])] + [series["val_loss"][1]]


@pytest.mark.slow
def test_divided_it_learns_as_on_one_device(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LITEPRESS_VIRTUAL_CPUS", "4")
    recipe = recipe_file.read(write(tmp_path), [])
    data = data_of(recipe)
    model = network.build(recipe.model, data.task.dimensions(data.index), data.task.outputs(data.index),
                          data.task.adopt)
    rates = recipe.train.schedule.rates(data.steps * recipe.train.epochs)
    losses, results, bytes_of = {}, {}, {}
    for title, devices, columns in (("one", 1, 1), ("rows", None, 1), ("both", None, 2)):
        written = recipe.written()
        written["train"] |= {"strategy": "sharded", "model_axis": columns}
        seen: list[dict[str, float]] = []
        weights, found = sharded.fit(sharded.Job(written, data, rates, devices), model.get_weights(), tmp_path,
                                     lambda epoch, metrics, seen=seen: seen.append(metrics))
        losses[title] = [metrics["loss"] for metrics in seen] + [seen[-1]["val_bits_per_token"]]
        results[title], bytes_of[title] = weights, found
    assert losses["one"][1] < losses["one"][0]
    for title in ("rows", "both"):
        np.testing.assert_allclose(losses[title], losses["one"], rtol=1e-5)
        for weight, other in zip(results[title], results["one"], strict=True):
            np.testing.assert_allclose(weight, other, atol=2e-4)
        assert bytes_of[title].bytes == pytest.approx(bytes_of["one"].bytes, rel=1e-6)
        assert bytes_of[title].bytes_per_device / bytes_of[title].bytes == pytest.approx(1 / 4, rel=0.1)
    assert sorted(os.listdir(tmp_path)) == ["recipe.yaml", "words.txt"]


@pytest.mark.slow
def test_a_run_that_is_divided_has_the_losses_of_tensorflow(tmp_path):
    pytest.importorskip("jax")
    write(tmp_path)
    np.testing.assert_allclose(run(tmp_path, "--set", "train.strategy=sharded"), run(tmp_path), rtol=1e-3)


def test_each_side_is_divided_where_it_can_be():
    sizes = {"batch": 4, "model": 2}
    assert divided((64, 256), sizes) == ("model", "batch") and divided((58, 64), sizes) == ("model", "batch")
    assert divided((64,), sizes) == ("batch",) and divided((7, 3), sizes) == (None, None) and divided((), sizes) == ()
    assert divided((64, 256), {"batch": 4, "model": 1}) == (None, "batch")


@pytest.mark.parametrize(("settings", "said"), [
    ({"callbacks": ["ema"]}, "does not go with strategy: sharded"),
    ({"l2": 0.1}, "does not go with strategy: sharded"), ({"strategy": "one", "model_axis": 2}, "leave it out")])
def test_what_does_not_go_with_it_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        TrainSection.model_validate({"strategy": "sharded", **settings})


def test_what_cannot_be_divided_is_refused(monkeypatch):
    with pytest.raises(UserError, match="is of resnet18"):
        sharded.check("resnet18")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="jax is not installed"):
        sharded.check("gpt")
    assert "at least two devices" in _misfit(1, 1, 8, None)
    assert "divisor" in _misfit(4, 3, 9, None) and "a multiple of 4" in _misfit(4, 1, 6, None)
    assert _misfit(4, 2, 6, None) == "" == _misfit(1, 1, 5, 1)


@pytest.mark.parametrize(("code", "error", "said"), [
    ("import sys; sys.exit('no memory')", StageError, "ended with code 1:\nno memory"),
    ("print('{\"event\": \"refused\", \"reason\": \"one device\"}')", UserError, "one device")])
def test_a_worker_that_fails_leaves_no_files(tmp_path, monkeypatch, code, error, said):
    (tmp_path / "failing_worker.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sharded, "WORKER", "failing_worker")
    (tmp_path / "work").mkdir()
    with pytest.raises(error, match=said):
        sharded.fit(sharded.Job({}, None, None), [np.zeros(2)], tmp_path / "work", lambda epoch, metrics: None)
    assert not os.listdir(tmp_path / "work")


def test_its_code_is_part_of_what_a_model_is_made_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path)
    for strategy in ("one", "sharded"):
        runner = Runner(recipe_file.read(path, [f"train.strategy={strategy}"]), str(path), Options(tmp_path / "runs"),
                        Display(Console()))
        train = next(stage for stage in STAGES if stage.name == "train")
        assert (sharded.WORKER in runner.code_of(train)) == (strategy == "sharded")


def test_texts_in_one_row_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="strategy: sharded"):
        recipe_file.read(write(tmp_path), ["train.strategy=sharded", "data.augment=[packed]"])
