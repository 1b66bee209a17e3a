"""Tiles of a microscopy picture of cell nuclei that comes inside this package."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from etils import epy

from pipelines.features.boxes import COLUMNS
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import PIL.Image
    import tensorflow as tf

FOLDER = Path(__file__).with_name("nuclei_data")
NAMES = ["background", "nucleus"]
#: Height and width of a tile in pixels.
TILE = 128
#: Of each part the columns of the picture that are its, and how far apart its tiles are.
COLUMNS_OF: dict[Part, tuple[int, int]] = {"train": (0, 256), "validation": (256, 384), "test": (384, 512)}
STRIDES: dict[Part, int] = {"train": 16, "validation": TILE, "test": TILE}
#: A nucleus of which less lies in a tile counts as a crowd: it is neither to be found nor wrong.
WHOLE = 0.5


class Nuclei(Source, name="nuclei"):
    """Tiles of a fluorescence microscopy picture of 125 nuclei with masks by hand, 128 x 128 grey pixels.

    The picture is of the 2018 Data Science Bowl (Caicedo et al., "Nucleus segmentation across imaging experiments",
    Nature Methods 2019), and comes with the package stardist (BSD 3-Clause; Schmidt et al., "Cell Detection with
    Star-Convex Polygons", MICCAI 2018). Its left half makes 225 training tiles that overlap each other, the quarter
    beside it four to validate on, and its right quarter four to test on: no pixel is in two parts.

    `mask` tells nucleus from background, `instances` has a number for each nucleus, and `boxes` the boxes around them.
    """

    medical: ClassVar[bool] = True

    def fingerprint(self) -> str:
        return f"nuclei {TILE} {STRIDES['train']} {WHOLE}"

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes", shape=(TILE, TILE, 1)),
                "mask": Field(kind="array", names=NAMES, shape=(TILE, TILE)),
                "boxes": Field(kind="boxes", names=NAMES[1:]),
                "instances": Field(kind="array", shape=(TILE, TILE), dtype="uint8")}

    def parts(self) -> list[Part]:
        return ["train", "validation", "test"]

    def size(self, part: Part) -> int | None:
        return len(corners(part))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the tiles of a part, row by row, images as PNG; an example's id is "nuclei 0 384" and so on, the
        tile's first row and column."""
        chosen = corners(part) if positions is None else [corners(part)[position] for position in positions]
        pixels, numbers = _picture()
        instances = np.array([_cut(numbers, corner) for corner in chosen], "uint8").reshape(-1, TILE, TILE)
        found = [boxes(numbers, corner) for corner in chosen]
        counts = np.array([len(rows) for rows in found], "int64")
        rows = tf.constant(np.concatenate([np.zeros((0, COLUMNS), "float32"), *found]))
        listed = tf.data.Dataset.from_tensor_slices({
            "image": np.array([_cut(pixels, corner) for corner in chosen], "uint8").reshape(-1, TILE, TILE, 1),
            "mask": (instances > 0).astype("uint8"), "instances": instances, "start": np.cumsum(counts) - counts,
            "count": counts, "id": tf.constant([f"nuclei {row} {column}" for row, column in chosen], tf.string)})

        def example(one: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {"image": tf.io.encode_png(one["image"]), "mask": one["mask"], "instances": one["instances"],
                    "boxes": rows[one["start"]:one["start"] + one["count"]], "id": one["id"]}

        return listed.map(example)


def corners(part: Part) -> list[tuple[int, int]]:
    """Return the first row and column of each tile of a part."""
    (first, end), stride = COLUMNS_OF[part], STRIDES[part]
    height = _picture()[0].shape[0]
    return [(row, column) for row in range(0, height - TILE + 1, stride)
            for column in range(first, end - TILE + 1, stride)]


def boxes(numbers: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """Return the boxes in a tile as `features.boxes` has them, float32 (boxes, 6).

    Args:
        numbers: of the nuclei, in the whole picture.
        corner: first row and column of the tile.
    """
    tile = _cut(numbers, corner)
    whole = np.bincount(numbers.ravel())
    rows = []
    for number in np.unique(tile[tile > 0]):
        down, across = np.nonzero(tile == number)
        is_part = len(down) < WHOLE * whole[number]
        rows.append([down.min() / TILE, across.min() / TILE, (down.max() + 1) / TILE, (across.max() + 1) / TILE,
                     0.0, float(is_part)])
    return np.array(rows, "float32").reshape(-1, COLUMNS)


def _cut(array: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    row, column = corner
    return array[row:row + TILE, column:column + TILE]


@functools.cache
def _picture() -> tuple[np.ndarray, np.ndarray]:
    """Return the picture and the numbers of its nuclei, both uint8 (512, 512)."""
    with PIL.Image.open(FOLDER / "image.png") as image, PIL.Image.open(FOLDER / "instances.png") as instances:
        return np.asarray(image), np.asarray(instances)
