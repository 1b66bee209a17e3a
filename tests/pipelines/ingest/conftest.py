"""What the tests of ingest share: data written here, and tasks of each kind of example."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from pipelines.features.image import Image
from pipelines.features.mask import Mask
from pipelines.features.number import Number
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tasks.task import Task

EIGHT = {"size": 8, "channels": 1}


class Segmentation(Task):
    """One class per pixel."""

    inputs, targets, split = {"image": Image}, {"mask": Mask}, "random"


class Pricing(Task):
    """A number of several columns."""

    inputs, targets, split = {"columns": Number}, {"price": Number}, "chronological"


def section_of(source: Any, task: Task | None = None, **settings: Any) -> DataSection:
    """Return the section of a recipe of this source, 8 x 8 grey pixels where the task is image classification."""
    task = task or ImageClassification()
    defaults = {"image": EIGHT} if isinstance(task, ImageClassification) else {}
    section = DataSection.model_validate({"source": source, **defaults, **settings})
    section.fill(task.features)
    return section


def index_of(source: Any, task: Task | None = None, seed: int = 7, **settings: Any) -> Index:
    """Return the index of a source."""
    task = task or ImageClassification()
    section = section_of(source, task, **settings)
    section.source.prepare()
    return build_index(section, task, seed)


def data_of(source: Any, task: Task | None = None, seed: int = 7, **settings: Any) -> Data:
    """Return a source's examples."""
    task = task or ImageClassification()
    return Data(section_of(source, task, **settings), task, index_of(source, task, seed, **settings), seed)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of 3 classes with 20 images each, in the four formats; the class is the grey level."""
    writers = {"png": tf.io.encode_png, "jpg": lambda image: tf.io.encode_jpeg(image, quality=100)}
    for number, name in enumerate(("ash", "birch", "cedar")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for count in range(20):
            image = np.full((10, 12, 3), 60 + 80 * number, "uint8")
            ending = ("png", "jpg", "bmp", "gif")[count % 4]
            path = tmp_path / "photos" / name / f"{count}.{ending}"
            if ending in writers:
                path.write_bytes(writers[ending](image).numpy())
            else:
                PIL.Image.fromarray(image).save(path)
    return tmp_path / "photos"


@pytest.fixture
def arrays(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that writes arrays to an .npz file, and gives the source of it."""

    def write(**content: Any) -> dict[str, Any]:
        np.savez(tmp_path / "a.npz", **content)
        return {"arrays": {"path": str(tmp_path / "a.npz")}}

    return write
