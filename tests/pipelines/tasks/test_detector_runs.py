"""Detectors with anchors and with regions: runs to their end."""
import itertools
import json

import pytest

from tests.conftest import run_here
from tests.pipelines.tasks.test_detection_run import write_squares

RECIPE = """\
name: detector
task: object_detection
data:
  source: {yolo: squares}
  image: {size: 64}
  boxes: {most: 4}
  augment: [{mosaic: 0.3}]
  batch: 8
model: MODEL
train:
  epochs: EPOCHS
  loss: LOSS
  schedule: {cosine: 0.005}
compress: {variants: [float32, dynamic, int8]}
export: {targets: [litert, {litert: {name: boxes, post_processing: true}}, saved_model]}
verify: {runs: 10}
"""
NARROW = "backbone: {resnet18: {width: 8}}"
MODELS = {
    "ssdlite": f"{{builder: ssdlite, {NARROW}, first: 3, last: 4, further: 1, width: 0.1, scales: [0.25, 0.5]}}",
    "retinanet": f"{{builder: retinanet, {NARROW}, levels: [3, 4], filters: 24, depth: 1, anchor: 2, "
                 "batch_norm: true}",
    "yolov3": "{builder: yolov3, width: 0.125, depth: 0.1, batch_norm_momentum: 0.8}",
    "faster_rcnn": f"{{builder: faster_rcnn, {NARROW}, levels: [2, 4], filters: 24, anchor: 4, candidates: 40, "
                   "proposals: 24, units: 48, batch_norm: true}"}
#: How long those learn, and by which loss, that learn less quickly by their own.
SLOWER = {"yolov3": (60, "{cell_detection: {boxes: ciou, box_weight: 5}}")}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_run_ends_in_files_that_find_the_same(name, tmp_path):
    write_squares(tmp_path / "squares")
    epochs, loss = SLOWER.get(name, (25, ""))
    recipe = RECIPE.replace("MODEL", MODELS[name]).replace("EPOCHS", str(epochs))
    recipe = recipe.replace("LOSS", loss) if loss else recipe.replace("  loss: LOSS\n", "")
    (tmp_path / "recipe.yaml").write_text(recipe)
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    result = json.loads((tmp_path / "r.json").read_text())
    reference = result["reference"]["metrics"]["map_50"]
    of = {(one["target"], one["variant"]): one for one in result["artifacts"]}
    assert set(of) == {("saved_model", "float32"), *itertools.product(("litert", "boxes"),
                                                                      ("float32", "dynamic", "int8"))}
    assert not result["left_out"] and not result["failed"] and reference > 0.8
    for one in ("litert", "boxes", "saved_model"):
        assert of[one, "float32"]["metrics"]["map_50"] == pytest.approx(reference, abs=1e-3)
    assert of["boxes", "float32"]["max_error"] < 1e-3 and of["litert", "float32"]["max_error"] < 1e-3
    assert of["litert", "dynamic"]["metrics"]["map_50"] == pytest.approx(reference, abs=0.03)
    served = of["saved_model", "float32"]["served"]
    assert set(served) == {"grpc", "rest"} and all(one["agreement"] == 1 for one in served.values())
