"""Tiles of a microscopy picture: its parts, its masks, and the boxes around its nuclei."""
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from pipelines.features import boxes as feature
from pipelines.ingest.sources import nuclei
from pipelines.ingest.sources.source import Source
from pipelines.tasks.object_detection import ObjectDetection
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from tests.pipelines.ingest.conftest import index_of

SIZES = {"train": 225, "validation": 4, "test": 4}


@pytest.fixture(scope="module")
def tiles():
    """Return the tiles of every part."""
    source = Source.read("nuclei")
    return {part: list(source.examples(part).as_numpy_iterator()) for part in source.parts()}


def test_no_pixel_is_in_two_parts(tiles):
    owners = np.zeros((512, 512), int)
    for bit, (part, examples) in enumerate(tiles.items()):
        assert len(examples) == SIZES[part]
        for one in examples:
            row, column = map(int, one["id"].decode().split()[1:])
            owners[row:row + nuclei.TILE, column:column + nuclei.TILE] |= 1 << bit
    assert set(np.unique(owners)) == {1, 2, 4}, "every pixel is of one part"


def test_the_tiles_are_the_picture_and_have_its_125_nuclei(tiles):
    pixels, numbers = nuclei._picture()
    assert len(np.unique(numbers)) - 1 == 125
    for examples in tiles.values():
        for one in examples[::40]:
            row, column = map(int, one["id"].decode().split()[1:])
            part = np.s_[row:row + nuclei.TILE, column:column + nuclei.TILE]
            assert (tf.io.decode_png(one["image"]).numpy()[..., 0] == pixels[part]).all()
            assert (one["instances"] == numbers[part]).all()
            assert (one["mask"] == (numbers[part] > 0)).all()


def test_nuclei_are_brighter_than_what_is_around_them(tiles):
    for examples in tiles.values():
        for one in examples[::40]:
            image = tf.io.decode_png(one["image"]).numpy()[..., 0]
            assert image[one["mask"] == 1].mean() > 2 * image[one["mask"] == 0].mean()


def test_boxes_are_around_nuclei_and_those_cut_off_are_crowds(tiles):
    _, numbers = nuclei._picture()
    for one in tiles["test"]:
        known = [number for number in np.unique(one["instances"]) if number]
        assert len(known) == len(one["boxes"])
        for number, box in zip(known, one["boxes"], strict=True):
            top, left, bottom, right = np.round(box[:4] * nuclei.TILE).astype(int)
            inside = one["instances"][top:bottom, left:right] == number
            assert inside.sum() == (one["instances"] == number).sum(), "the whole nucleus is inside"
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
            share = inside.sum() / (numbers == number).sum()
            assert bool(box[feature.CROWD]) == (share < 0.5)


def test_positions_choose_tiles(tiles):
    chosen = list(Source.read("nuclei").examples("train", [3, 100]).as_numpy_iterator())
    assert [one["id"] for one in chosen] == [tiles["train"][position]["id"] for position in (3, 100)]
    assert (chosen[1]["boxes"] == tiles["train"][100]["boxes"]).all()


def test_it_is_indexed_for_masks_and_for_boxes():
    masks = index_of("nuclei", SemanticSegmentation(), image={"size": 128, "channels": 1})
    assert masks.names("mask") == ["background", "nucleus"]
    assert {part: split.examples for part, split in masks.splits.items()} == SIZES
    found = index_of("nuclei", ObjectDetection(), image={"size": 128, "channels": 1}, boxes={"most": 40})
    assert found.names("boxes") == ["nucleus"] and found.counts["test"]["boxes"][0] > 20


@pytest.mark.slow
def test_its_files_are_in_the_wheel(tmp_path):
    """The picture, its outlines, and their licence."""
    root = pathlib.Path(__file__).parents[3]
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path,
                    root], check=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for name in ("image.png", "instances.png", "LICENSE.txt", "README.md"):
        assert f"pipelines/ingest/sources/nuclei_data/{name}" in names
