"""A task of one's own, whole in this file: two named inputs, a dense output, from data to a verified TFLite file."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
from etils import epy

from export.signature import Tensor
from models.registry import register
from pipelines.errors import UserError
from pipelines.features.image import Image
from pipelines.features.mask import Mask
from pipelines.features.number import Number
from pipelines.recipe import file as recipe_file
from pipelines.tasks.task import Evaluation, Metric, Task, rounded
from tests.conftest import ROOT, command

with epy.lazy_imports():
    import keras


class Threshold(Task, name="threshold"):
    """Which pixels of an image are brighter than a number."""

    inputs, targets, pairs, split = {"image": Image, "limit": Number}, {"mask": Mask}, {"logits": "mask"}, "random"
    metrics = (Metric(name="pixel_accuracy", label="pixel accuracy"),
               Metric(name="error", better="lower", relative=True))

    def dimensions(self, index):
        return {"input_shape": index.inputs["image"].shape, "classes": 2}

    def outputs(self, index):
        return (Tensor(name="logits", dtype="float32", shape=(*index.inputs["image"].shape[:2], 2), role="logits"),)

    def measure(self, index):
        return Pixels()

    def in_words(self, outputs, index):
        return [f"{mask.mean():.0%} of the pixels are brighter" for mask in outputs["logits"].argmax(-1)]

    def sentence(self, index, evaluation):
        return f"It finds the bright pixels, {evaluation.metrics['pixel_accuracy']:.2%} of them rightly."


class Pixels:
    right = total = 0

    def add(self, targets, outputs):
        wrong = (outputs["logits"].argmax(-1) != targets["mask"]).mean(axis=(1, 2))
        self.right, self.total = self.right + (1 - wrong).sum(), self.total + len(wrong)
        return wrong

    def result(self, folder=None):
        return Evaluation(metrics=rounded({"pixel_accuracy": self.right / self.total,
                                           "error": 1 - self.right / self.total}))


@register("threshold_net", task="threshold", paper="none", at={"input_shape": (16, 16, 1), "classes": 2})
def threshold_net(input_shape, classes, *, width: int = 8):
    """Two convolutions on the image beside the number."""
    image, limit = keras.Input(input_shape, name="image"), keras.Input((), name="limit")
    number = keras.layers.Reshape((1, 1, 1))(limit) + keras.ops.zeros_like(image)
    x = keras.layers.Concatenate()([keras.layers.Rescaling(1 / 255)(image), number])
    x = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    return keras.Model([image, limit], {"logits": keras.layers.Conv2D(classes, 1, name="logits")(x)})


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


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """A run of the recipe, in a folder of its own: the task comes from this file, as a plugin."""
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
    environment = {**os.environ, "LITEPRESS_PLUGINS": __name__, "PYTHONPATH": str(ROOT)}
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


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
def test_what_does_not_fit_the_task_is_refused_with_its_line(tmp_path, monkeypatch, old, new, expected):
    monkeypatch.chdir(tmp_path)
    assert old in RECIPE
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace(old, new))
    with pytest.raises(UserError) as refused:
        recipe_file.read(Path("recipe.yaml"))
    assert str(refused.value).startswith(expected)


def test_a_plugin_that_is_not_there_is_one_line(tmp_path):
    done = command("list", "tasks", cwd=tmp_path, env={**os.environ, "LITEPRESS_PLUGINS": "nowhere_at_all"})
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "LITEPRESS_PLUGINS: there is no module nowhere_at_all" in done.stderr
