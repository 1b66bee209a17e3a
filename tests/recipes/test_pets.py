"""The recipe for Oxford-IIIT Pet, on a stand-in of its features."""
import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.recipe import file as recipe_file
from tests.conftest import ROOT

RECIPE = ROOT / "recipes/segmentation/pets.yaml"
#: What the set writes a pet, what is behind it, and its outline as.
PET, BEHIND, OUTLINE = 1, 2, 3


def examples(count):
    """Yield images of sizes of their own: a dark pet with an outline before something bright."""
    for number in range(count):
        mask = np.full((80 + 3 * number, 100, 1), BEHIND, "uint8")
        mask[16:60, 20:80] = OUTLINE
        mask[20:56, 24:76] = PET
        image = np.repeat(np.array([40, 220, 130], "uint8")[mask - 1], 3, axis=-1)
        yield number, {"image": image, "label": number, "species": number % 2, "file_name": f"{number}.jpg",
                       "segmentation_mask": mask, "head_bbox": tfds.features.BBox(0.0, 0.0, 0.0, 0.0)}


@pytest.fixture
def folder(tmp_path):
    """Where TFDS finds the set prepared, with some images of each part."""
    builder = tfds.builder("oxford_iiit_pet", data_dir=tmp_path)
    builder._split_generators = lambda downloads: {"train": examples(20), "test": examples(4)}
    builder.download_and_prepare()
    return tmp_path


def overrides(folder, *more):
    return [f"data.source={{tfds: {{name: oxford_iiit_pet, data_dir: {folder}}}}}", "data.image.size=64", *more]


def test_its_masks_are_read_by_their_values(folder):
    recipe = recipe_file.read(RECIPE, overrides(folder))
    index = build_index(recipe.data, recipe.task, recipe.seed)
    assert index.names("mask") == ["background", "pet", "outline"] and index.splits["test"].examples == 4
    inputs, targets = Data(recipe.data, recipe.task, index, recipe.seed).arrays("test", 9)
    dark, mask = inputs["image"].mean(axis=-1) < 90, targets["mask"]
    assert inputs["image"].shape == (4, 64, 64, 3)
    assert (mask[dark] == 1).mean() > 0.97 and (mask[:, :8] == 0).all() and (mask == 2).any()


@pytest.mark.slow
def test_the_check_passes(folder, tmp_path, monkeypatch, litepress):
    monkeypatch.chdir(tmp_path)
    network = keras.applications.MobileNetV2(include_top=False, weights=None)
    network.save_weights(tmp_path / "notop.weights.h5")
    changes = overrides(folder, "model.weights.imagenet=notop.weights.h5")
    said = litepress("check", RECIPE, *(part for change in changes for part in ("--set", change)))
    assert said.code == 0, said.out + said.err
    assert "int8" in said.out and "background" not in said.err
