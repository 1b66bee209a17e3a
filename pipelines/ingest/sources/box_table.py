"""Images with boxes in a table."""
from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features.boxes import SLACK
from pipelines.features.image import size_of_file
from pipelines.ingest.index import Part
from pipelines.ingest.sources.annotated_images import Annotated, AnnotatedImages, Listed
from pipelines.ingest.sources.image_table import FILES, LABELS, SPLITS, usual_column
from pipelines.ingest.sources.part_names import PARTS, WRITTEN
from pipelines.ingest.sources.table_file import Csv

SETTING = "data.source.box_table"
#: What the columns of sides are called, the likeliest first.
SIDES = {"ymin": ("ymin", "y_min", "y1", "top"), "xmin": ("xmin", "x_min", "x1", "left"),
         "ymax": ("ymax", "y_max", "y2", "bottom"), "xmax": ("xmax", "x_max", "x2", "right")}


class BoxTable(AnnotatedImages, name="box_table", shorthand="path"):
    """Images that a CSV file lists with their boxes, a row each: 1.jpg,10,20,50,60,cat.

    Columns are found by their names: file_name, filename, path, image …; xmin, ymin, xmax, ymax; label, class …; split
    or subset, where there is one. Sides are pixels, or shares of the image where none is above 1. A row whose sides are
    empty is an image with nothing in it.

    Args:
        path: the CSV file, relative to where litepress runs.
        folder: what the names of the files start from; the CSV file's own folder where not given.
        class_names: in their order; all that occur, sorted, where not given.
    """

    path: str = Setting(min_length=1)
    folder: str | None = Setting(None, min_length=1)
    class_names: tuple[str, ...] | None = Setting(None, min_length=1)

    def annotated(self) -> Mapping[Part, Listed]:
        return _read(self, self._version())[0]

    def names(self) -> list[str]:
        return _read(self, self._version())[1]

    def _version(self) -> int:
        if not Path(self.path).is_file():
            raise UserError(f"{SETTING}.path: there is no file {self.path}")
        return os.stat(self.path).st_mtime_ns


@functools.lru_cache(maxsize=4)
def _read(source: BoxTable, version: int) -> tuple[dict[Part, Listed], list[str]]:
    """Return the images of each part, and the classes, kept until the version changes. Raises UserError."""
    table = Csv(path=source.path, missing=("",)).read_file(Path(source.path))
    columns = {"file": usual_column(table, FILES), "label": usual_column(table, LABELS)}
    columns |= {side: usual_column(table, names) for side, names in SIDES.items()}
    for name, column in columns.items():
        if column is None:
            raise UserError(f"{SETTING}: {source.path} has no column for {name}; its columns: "
                            f"{', '.join(table.column_names)}")
    values = {name: [str(value or "").strip() for value in table.column(column).to_pylist()]
              for name, column in columns.items()}
    split = usual_column(table, SPLITS)
    parts = [str(value or "").strip().lower() for value in table.column(split).to_pylist()] if split else [
        "train"] * table.num_rows
    known = list(source.class_names or sorted({name for name in values["label"] if name}))
    numbers = {name: number for number, name in enumerate(known)}
    folder = Path(source.folder) if source.folder is not None else Path(source.path).parent
    rows: dict[tuple[Part, str], list[tuple[float, ...]]] = {}
    for number, (file, part) in enumerate(zip(values["file"], parts, strict=True)):
        if part not in PARTS:
            raise UserError(f"{SETTING}: {source.path} row {number + 1} is of the split {part!r}; write {WRITTEN}")
        boxes = rows.setdefault((PARTS[part], str(folder / file.replace("\\", "/"))), [])
        sides = [values[side][number] for side in SIDES]
        if any(sides):
            boxes.append((*_numbers(sides, source.path, number + 1),
                          float(numbers.get(values["label"][number], -1)), 0.0))
    largest = [max(row[:4]) for boxes in rows.values() for row in boxes]
    in_pixels = max(largest, default=0) > 1 + SLACK
    if in_pixels and min(largest) <= 1:
        raise UserError(f"{SETTING}: {source.path} has boxes in pixels and such as shares of the image; write all of "
                        "them in one of the two")
    result: dict[Part, list[Annotated]] = {}
    for (kind, path), boxes in rows.items():
        shares = _shares(path, boxes) if in_pixels else boxes
        result.setdefault(kind, []).append(Annotated(path, shares))  # type: ignore[arg-type]
    return {part: Listed.of(images) for part, images in result.items()}, known


def _numbers(sides: Sequence[str], path: str, row: int) -> list[float]:
    try:
        return [float(side) for side in sides]
    except ValueError:
        raise UserError(f"{SETTING}: {path} row {row} has the sides {', '.join(sides)}; give four numbers, or none "
                        "where nothing is in the image") from None


def _shares(path: str, boxes: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Return boxes in pixels as shares of their image; as they are where that cannot be read, which is counted."""
    height, width = (size_of_file(path) if boxes else None) or (1.0, 1.0)
    return [(row[0] / height, row[1] / width, row[2] / height, row[3] / width, *row[4:]) for row in boxes]
