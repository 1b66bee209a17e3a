"""The recipes of papers for detectors, on stand-ins of their data."""
from pathlib import Path

import keras
import numpy as np
import pytest

from pipelines.recipe.file import read
from tests.conftest import ROOT
from tests.pipelines.ingest.test_annotated_images import as_coco, as_voc

RECIPES = ROOT / "recipes/detection"
NETWORKS = {"resnet50": "ResNet50", "mobilenet_v2": "MobileNetV2"}


def test_voc_is_learnt_in_the_papers_steps():
    """Liu et al. 2016, section 3.2: of 16,551 images, 80,000 steps at 1e-3, 20,000 at 1e-4 and 20,000 at 1e-5."""
    recipe = read(RECIPES / "voc_ssd.yaml")
    learnt = 16_551 - round(16_551 * recipe.data.validation)
    rates = np.asarray(recipe.train.schedule.rates(recipe.train.epochs * (learnt // recipe.data.batch)))
    for rate, steps in ((1e-3, 80_000), (1e-4, 20_000), (1e-5, 20_000)):
        assert np.isclose(rates, rate, rtol=1e-3).sum() == pytest.approx(steps, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "write", "folder", "backbone", "weights"), [
    ("coco_faster_rcnn", as_coco, "coco", "resnet50", 41_888_086 - 88 * 5 * 1025),  # for 2 classes in place of 90
    ("coco_yolov8", as_coco, "coco", None, None),
    ("voc_ssd", as_voc, "VOCdevkit/VOC0712", "mobilenet_v2", None)])
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
