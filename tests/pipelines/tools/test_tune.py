"""The search over settings, and the learning-rate range test."""
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest

from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.tools import find_rate
from tests.conftest import TINY

RANGES = """\
tune:
  trials: 2
  ranges:
    train.schedule.one_cycle.peak: {log: [0.0001, 0.05]}
    model.width: {choice: [4, 8]}
"""
SHORT = TINY.replace("epochs: 4", "epochs: 1").replace("gates:", RANGES + "gates:")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(SHORT)
    return tmp_path / "recipe.yaml"


def trials():
    storage = f"sqlite:///{Path('runs/tiny-tune/study.db').absolute()}"
    return optuna.load_study(study_name=None, storage=storage).get_trials()


@pytest.mark.slow
def test_a_search_keeps_its_trials_and_goes_on(recipe, litepress):
    message = litepress("tune", recipe, "--no-track")
    assert message.code == 0, message.out + message.err
    assert message.out.count("trial ") == 2
    first = trials()
    assert [trial.state.name for trial in first] == ["COMPLETE"] * 2
    assert all(1e-4 <= trial.params["train.schedule.one_cycle.peak"] <= 0.05 for trial in first)
    best = float(re.search(r"best  val_accuracy ([0-9.]+)", message.out).group(1))
    assert best == pytest.approx(max(trial.value for trial in first), abs=1e-4)
    tuned = recipe_file.read(Path("runs/tiny-tune/tuned.yaml"))
    winner = max(first, key=lambda trial: trial.value)
    assert tuned.train.schedule.peak == pytest.approx(winner.params["train.schedule.one_cycle.peak"], rel=1e-3)
    assert tuned.model.settings["width"] == winner.params["model.width"] and tuned.tune is None
    assert Path("runs/tiny-tune/study.png").read_bytes().startswith(b"\x89PNG")
    again = litepress("tune", recipe, "--no-track", "--trials", 3)
    assert again.code == 0 and again.out.count("trial ") == 1
    third = trials()[2].params
    assert third["train.schedule.one_cycle.peak"] not in [trial.params["train.schedule.one_cycle.peak"]
                                                          for trial in first]
    run = litepress("run", "runs/tiny-tune/tuned.yaml", "--no-track", "--until", "train")
    assert run.code == 0 and run.out.count("cached") == 2, "the best trial's model is taken as it is"


@pytest.mark.slow
def test_a_killed_search_runs_the_interrupted_trial_again(recipe):
    command = [str(Path(sys.executable).with_name("litepress")), "tune", str(recipe), "--no-track", "--set",
               "train.epochs=300"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (Path("runs/tiny-tune").exists()
                                               and list(Path("runs/tiny-tune").glob("*/run.json"))):
        time.sleep(0.2)
    time.sleep(3)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = trials()
    assert before[-1].state.name == "RUNNING"
    done = subprocess.run([*command[:-1], "train.epochs=2"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"trial {before[-1].number + 1} was interrupted and is run again" in done.stdout
    assert trials()[len(before)].params == before[-1].params
    assert len([trial for trial in trials() if trial.state.name == "COMPLETE"]) == 2


@pytest.mark.parametrize(("old", "new", "message"), [
    (RANGES, "", "tune is missing"),
    ("one_cycle.peak: {log: [0.0001", "one_cycle.peek: {log: [0.0001", "peek is not a setting. Did you mean"),
    ("choice: [4, 8]", "choice: [4, 0]", "model.width is 0"),
    ("log: [0.0001, 0.05]", "log: [0, 0.05]", "begins above 0"),
    ("log: [0.0001, 0.05]", "log: [0.1, 0.05]", "the lowest, then the highest"),
    ("log: [0.0001, 0.05]", "lag: [0.1, 0.05]", "Did you mean log"),
])
def test_a_search_that_cannot_be_is_refused(recipe, litepress, old, new, message):
    recipe.write_text(SHORT.replace(old, new))
    text = litepress("tune", recipe, "--no-track")
    assert text.code == 2 and message in text.err and not Path("runs").exists()


def test_a_trial_is_given_up_by_its_metrics(recipe):
    from rich.console import Console

    from pipelines.engine.display import TrialDisplay
    from pipelines.runner import Options
    from pipelines.tools.tune import Search

    search = Search(recipe, ["tune.pruner=median", "tune.warmup=0"], Options(track=False), [],
                    TrialDisplay(Console(quiet=True)))
    for number in range(5):
        trial = search.study.ask({"model.width": optuna.distributions.CategoricalDistribution([4, 8])})
        trial.report(0.9 + number / 100, 1)
        search.study.tell(trial, 0.9)
    poor = search.study.ask()
    poor.report(0.1, 1)
    assert poor.should_prune()


def test_the_suggested_rate_is_a_tenth_of_the_best():
    rates = np.geomspace(1e-6, 10, 100).tolist()
    losses = [2.0 if rate < 1e-3 else 1.0 if rate < 0.1 else 0.5 if rate < 0.2 else 3.0 for rate in rates]
    result = find_rate.suggest(rates, losses[:90])
    assert result.lowest == pytest.approx(0.1, rel=0.2) and result.suggested == pytest.approx(result.lowest / 10)
    assert result.diverged == rates[89] and find_rate.suggest(rates, losses).diverged is None
    assert find_rate.suggest(rates, [*losses[:70], float("nan")]).lowest < rates[70]


@pytest.mark.slow
def test_rates_are_tried_and_drawn(recipe, litepress):
    message = litepress("find-rate", recipe, "--steps", 60)
    assert message.code == 0, message.out + message.err
    suggested = float(re.search(r"suggested peak +([0-9.e-]+)", message.out).group(1))
    assert 1e-5 < suggested < 1
    assert Path("runs/tiny/learning_rate.png").read_bytes().startswith(b"\x89PNG")


def test_a_batch_larger_than_the_data_finds_no_rate():
    recipe = recipe_file.Recipe.model_validate({"name": "x",
                                                "data": {"source": "digits", "image": {"size": 8}, "batch": 5000},
                                                "model": {"builder": "resnet8"}})
    with pytest.raises(UserError, match="give a smaller batch"):
        find_rate.find(recipe.written(), 20, Path("nowhere.png"))
