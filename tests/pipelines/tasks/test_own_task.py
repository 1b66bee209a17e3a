"""A task of one's own, from data to a verified TFLite file."""
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import models
from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.tasks.task import Task
from tests.conftest import ROOT, command

PLUGIN = "tests.pipelines.tasks.threshold"
RECIPE = """\
name: own
task: threshold
data:
  source: {arrays: data.npz}
  image: {size: 16, channels: 1}
  mask: {classes: 2}
  batch: 32
model: {builder: threshold_net}
train: {epochs: 12, loss: cross_entropy, schedule: {cosine: 0.02}}
compress: {variants: [float32, dynamic, int8]}
verify: {runs: 20}
gates: {pixel_accuracy: ">= 0.9", float32.max_error: "<= 1e-4", int8.drop: "<= 0.05"}
"""


@pytest.fixture
def plugin():
    """Makes the task known in this process, for one test."""
    importlib.import_module(PLUGIN)
    yield
    del sys.modules[PLUGIN], Task.choices["threshold"], models.registry._builders["threshold_net"]


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """A run of the recipe, in a folder of its own: the task comes from a plugin."""
    folder = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 640), ("test", 128)):
        images = generator.integers(0, 256, (count, 16, 16)).astype("uint8")
        limits = generator.uniform(0.2, 0.8, count).astype("float32")
        arrays |= {f"x_{part}": images, f"{part}_limit": limits,
                   f"{part}_mask": (images / 255 > limits[:, None, None]).astype("uint8")}
    np.savez(folder / "data.npz", **arrays)
    (folder / "recipe.yaml").write_text(RECIPE)
    environment = {**os.environ, "LITEPRESS_PLUGINS": PLUGIN, "PYTHONPATH": str(ROOT)}
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.slow
def test_a_task_of_ones_own_ends_as_verified_files(own_run):
    folder, printed = own_run
    results = json.loads((folder / "r.json").read_text())
    assert "pixel accuracy" in printed and "order-independent" in printed
    by_name = {one["variant"]: one for one in results["artifacts"] if one["target"] == "litert"}
    assert results["reference"]["metrics"]["pixel_accuracy"] >= 0.9
    assert by_name["float32"]["max_error"] <= 1e-4 and by_name["float32"]["agreement"] == 1
    assert by_name["int8"]["integer"] and by_name["int8"]["drop"]["pixel_accuracy"] <= 0.05
    assert all(one["order_independent"] and one["compared"] == 128 for one in results["artifacts"])
    served = next(one for one in results["artifacts"] if one["target"] == "saved_model")["served"]
    assert set(served) == {"grpc", "rest"} and all(one["max_error"] < 1e-4 for one in served.values())


@pytest.mark.slow
def test_its_bundle_names_both_inputs_and_checks_itself(own_run):
    from export.delivery import golden

    folder, _ = own_run
    bundle = folder / "runs" / "own" / "latest" / "package" / "bundle"
    model = next(one for one in json.loads((bundle / "model.json").read_text())["models"] if one["name"] == "float32")
    assert {one["name"]: one["shape"] for one in model["inputs"]} == {"image": [1, 16, 16, 1], "limit": [1]}
    assert [one["name"] for one in model["outputs"]] == ["logits"]
    assert all(one.passed for one in golden.check_here(bundle))
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "It finds the bright pixels" in card and "pixel accuracy" in card


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("builder: threshold_net", "builder: resnet8", "recipe.yaml:8: model.builder: resnet8 is a builder for "
     "image_classification, and the task is threshold: give one of threshold_net"),
    ("mask: {classes: 2}", "label: {}", "recipe.yaml:6: data.label is not a setting"),
    ("classes: 2}", "clases: 2}", "recipe.yaml:6: data.mask.clases is not a setting. Did you mean data.mask.classes?"),
    ("pixel_accuracy: \">", "accuracy: \">", "recipe.yaml:12: gates.accuracy: no value of this run is called accuracy"),
    ("task: threshold", "task: treshold", "recipe.yaml:2: task: there is no task called treshold. Did you mean "
                                          "threshold?"),
])
def test_what_does_not_fit_the_task_is_refused_with_its_line(tmp_path, monkeypatch, plugin, old, new, expected):
    monkeypatch.chdir(tmp_path)
    assert old in RECIPE
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace(old, new))
    with pytest.raises(UserError) as refused:
        recipe_file.read(Path("recipe.yaml"))
    assert str(refused.value).startswith(expected)


def test_a_recipe_without_a_loss_means_the_tasks(tmp_path, monkeypatch, plugin):
    monkeypatch.setattr(Task.choices["threshold"], "loss", "mse")
    path = tmp_path / "recipe.yaml"
    for text, expected in ((RECIPE.replace("loss: cross_entropy, ", ""), "mse"), (RECIPE, "cross_entropy")):
        path.write_text(text)
        recipe = recipe_file.read(path)
        assert recipe.train.loss.entry_name == expected
        assert recipe.written()["train"]["loss"].keys() == {expected}


def test_a_plugin_that_is_not_there_is_one_line(tmp_path):
    done = command("list", "tasks", cwd=tmp_path, env={**os.environ, "LITEPRESS_PLUGINS": "nowhere_at_all"})
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "LITEPRESS_PLUGINS: there is no module nowhere_at_all" in done.stderr
