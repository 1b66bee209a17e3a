"""Slices of the MNI152 template: their parts, their labels, and what is said without its package."""
import importlib.util
import itertools

import nibabel
import numpy as np
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.ingest.sources import brain
from pipelines.ingest.sources.brain import Brain
from pipelines.ingest.sources.source import Source
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from tests.pipelines.ingest.conftest import data_of

SIZES = {"train": 66, "validation": 18, "test": 18}


@pytest.fixture(scope="module")
def examples():
    """Return all examples by the number of their slice, each with its part."""
    source = Source.read("brain")
    return {int(one["id"].decode().removeprefix("slice ")): (part, one)
            for part in source.parts() for one in source.examples(part).as_numpy_iterator()}


def test_parts_are_blocks_of_slices_that_do_not_touch(examples):
    for part, size in SIZES.items():
        numbers = [number for number, (owner, _) in examples.items() if owner == part]
        assert len(numbers) == size == Brain().size(part)
    numbers = sorted(examples)
    assert numbers[0] == 40 and numbers[-1] == 149
    for one, other in itertools.pairwise(numbers):
        assert other - one == (1 if examples[one][0] == examples[other][0] else 2)


def test_labels_are_of_the_tissue_that_is_more_than_half(examples):
    """Each pixel's class follows from the maps at the four voxels that it is made of, read here by other means."""
    folder = brain._folder()
    maps = {kind: np.asarray(nibabel.load(folder / brain.FILE.format(kind)).dataobj).astype(float)
            for kind in ("t1", "gm", "wm")}
    number = 65
    mask = examples[number][1]["mask"]
    for row, column in ((20, 47), (40, 30), (56, 48), (70, 60), (56, 5), (90, 50), (33, 52), (60, 20)):
        # from the upper left pixel to voxels: rows go from the front back, columns from the right to the left
        y, x = 232 - 2 * (row + 2), 196 - 2 * (column + 1)
        grey, white, signal = (maps[kind][x - 1:x + 1, y - 1:y + 1, number].mean() for kind in ("gm", "wm", "t1"))
        expected = ("grey" if grey >= 128 and grey >= white else "white" if white >= 128
                    else "other" if signal > 40 else "background")
        assert brain.NAMES[mask[row, column]] == expected


def test_images_are_grey_and_darker_where_there_is_less_fat(examples):
    """In a T1 image white matter is brighter than grey matter, and that than fluid."""
    means = np.zeros(4)
    for _, one in examples.values():
        image = tf.io.decode_png(one["image"]).numpy()
        assert image.shape == (112, 96, 1) and one["mask"].shape == (112, 96)
        means += [image[..., 0][one["mask"] == number].mean() if (one["mask"] == number).any() else 0
                  for number in range(4)]
    background, white, grey, other = means / len(examples)
    assert white > grey > other > background


def test_a_slice_is_its_own_mirror_image(examples):
    """The template is symmetric, and the cut half a pixel off its middle: what lies between two pixels is alike."""
    image = tf.io.decode_png(examples[125][1]["image"]).numpy()[..., 0].astype(float)
    between = (image[:, 1:] + image[:, :-1]) / 2
    assert np.abs(between - image[:, :0:-1]).mean() < np.abs(image - image[:, ::-1]).mean() / 2


def test_it_is_indexed_with_its_names_and_its_pixels_counted():
    index = data_of("brain", SemanticSegmentation(), image={"size": [112, 96], "channels": 1}).index
    assert index.names("mask") == ["background", "white", "grey", "other"]
    assert {part: split.examples for part, split in index.splits.items()} == SIZES
    assert all(sum(counts["mask"]) == SIZES[part] * 112 * 96 for part, counts in index.counts.items())


def test_without_its_package_it_says_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nilearn" else found(name))
    with pytest.raises(UserError, match=r"data.source: brain comes inside nilearn: nilearn is not installed; .*"
                                        r"\[medical\]"):
        Brain().fingerprint()
