"""The recipes of papers for detectors, on stand-ins of their data."""
from pathlib import Path

import keras
import pytest

from tests.conftest import ROOT
from tests.pipelines.ingest.test_annotated_images import as_coco, as_voc

RECIPES = ROOT / "recipes/detection"
NETWORKS = {"resnet50": "ResNet50", "mobilenet_v2": "MobileNetV2"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "write", "folder", "backbone", "weights"), [
    ("coco_faster_rcnn", as_coco, "coco", "resnet50", 41_888_086 - 88 * 5 * 1025),  # for 2 classes in place of 90
    ("coco_yolov8", as_coco, "coco", None, None),
    ("voc_ssd", as_voc, "VOCdevkit/VOC2007", "mobilenet_v2", None)])
def test_a_papers_recipe_passes_its_check_on_a_stand_in(litepress, tmp_path, monkeypatch, name, write, folder, backbone,
                                                        weights):
    (tmp_path / folder).mkdir(parents=True)
    write(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    settings = ["--set", "data.batch=1"]
    if backbone:
        network = getattr(keras.applications, NETWORKS[backbone])(include_top=False, weights=None)
        network.save_weights("learnt.weights.h5")
        settings += ["--set", "model.weights={imagenet: learnt.weights.h5}"]
    said = litepress("check", RECIPES / f"{name}.yaml", *settings)
    assert said.code == 0, said.err
    assert weights is None or f"{weights:,} weights" in said.out
    assert "check.png" in said.out and len(list(Path("runs").rglob("check.png"))) == 1
