"""The user's own images, listed with their labels in a CSV file."""
from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from etils import epy
from pydantic import Field as Setting
from pydantic import PrivateAttr

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources import class_labels
from pipelines.ingest.sources.part_names import PARTS, WRITTEN
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.table_file import Csv

with epy.lazy_imports():
    import numpy as np
    import pyarrow as pa
    import tensorflow as tf

SETTING = "data.source.image_table"
#: What the columns are called where nobody says it, the likeliest first: of files, of their classes, of their parts.
FILES = ("file_name", "filename", "file", "image_path", "filepath", "file_path", "path", "image", "image_id", "img",
         "id")
LABELS = ("label", "labels", "class", "class_name", "category", "target")
SPLITS = ("split", "subset")


class Row(NamedTuple):
    """An image in a table, in its row, counted from 1.

    Args:
        name: of the file, as the table has it; `path` is where it lies.
    """

    number: int
    name: str
    path: str
    label: str
    part: Part
    group: str = ""


class ImageTable(Source, name="image_table", shorthand="path"):
    """Images that a CSV file lists with their labels, a row each: cats/1.jpg,cat.

    The columns are found by their names (file_name, filename, path, image, id …; label, class, category …; split or
    subset, where there is one, with train, val and test). Labels are words, or whole numbers.

    Args:
        path: the CSV file, relative to where litepress runs.
        folder: what the names of the files start from; the CSV file's own folder where not given.
        image, label, split: what the columns are called, where it is something else.
        group: the column of what each image belongs to beside its class, by which tasks that compare groups do so.
        suffix: what the files' names have behind what the table calls them: .jpg.
        class_names: of labels that are numbers, in their order; the numbers where not given.
    """

    path: str = Setting(min_length=1)
    folder: str | None = Setting(None, min_length=1)
    image: str | None = Setting(None, min_length=1)
    label: str | None = Setting(None, min_length=1)
    split: str | None = Setting(None, min_length=1)
    group: str | None = Setting(None, min_length=1)
    suffix: str = ""
    class_names: tuple[str, ...] | None = Setting(None, min_length=2)
    _are_apart: bool = PrivateAttr(False)

    def fingerprint(self) -> str:
        self.prepare()
        digest = hashlib.sha256(str(self.model_dump()).encode())
        for row in self.rows():
            status = os.stat(row.path)
            digest.update(f"{row.path} {row.label} {row.part} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Raise UserError where a file is not there."""
        rows = self.rows()
        missing = [row for row in rows if not os.path.isfile(row.path)]
        if missing:
            count = "1 file is" if len(missing) == 1 else f"{len(missing):,} of {len(rows):,} files are"
            raise UserError(f"{SETTING}: {count} not there, the first in row {missing[0].number}: {missing[0].path}. "
                            "Say in folder what the names start from, and in suffix what they lack at their end")

    def fields(self) -> dict[str, Field]:
        fields = {"image": Field(kind="bytes"), "label": Field(kind="class", names=self._classes().names)}
        return fields if self.group is None else fields | {"group": Field(kind="class", names=self._groups())}

    def of_model(self, classes: int) -> ImageTable:
        names = self.class_names or class_labels.names_for(self._labels(self._of("train")), classes)
        return self.model_copy(update={"class_names": names and tuple(names)})

    def parts(self) -> list[Part]:
        present = {row.part for row in self.rows()}
        return [part for part in ("train", "validation", "test") if part in present]

    def size(self, part: Part) -> int | None:
        return len(self._of(part))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the images of a part in the table's order; an example's id is its path."""
        rows = self._of(part)
        numbers = self._classes().numbers(self._labels(rows), self.path)
        chosen = np.arange(len(rows)) if positions is None else np.asarray(positions, int)
        paths = [rows[position].path for position in chosen]
        columns = {"id": tf.constant(paths, tf.string), "label": numbers[chosen]}
        if self.group is not None:
            position = {name: number for number, name in enumerate(self._groups())}
            columns["group"] = np.array([position[rows[one].group] for one in chosen], "int64")
        return tf.data.Dataset.from_tensor_slices(columns).map(
            lambda row: {**row, "image": tf.io.read_file(row["id"])}, num_parallel_calls=tf.data.AUTOTUNE)

    def rows(self) -> list[Row]:
        """Return the images. Raises UserError where the table cannot be read, or lacks a column."""
        if not Path(self.path).is_file():
            raise UserError(f"{SETTING}.path: there is no file {self.path}")
        status = os.stat(self.path)
        return _rows(self, f"{status.st_size} {status.st_mtime_ns}")

    def groups(self, part: Part, name: str, positions: Sequence[int]) -> list[str] | None:
        """Return what a column has for each image; None where there is no such column."""
        rows = self._of(part)
        table = _read(self.path)
        if name not in table.column_names:
            return super().groups(part, name, positions)
        values = _texts(table, name)
        empty = next((rows[position] for position in positions if not values[rows[position].number - 1]), None)
        if empty is not None:
            raise UserError(f"data.group: {self.path} row {empty.number} has no {name}; fill it in, or take the row "
                            "out")
        return [values[rows[position].number - 1] for position in positions]

    def _of(self, part: Part) -> list[Row]:
        return [row for row in self.rows() if row.part == part]

    def _groups(self) -> list[str]:
        return sorted({row.group for row in self.rows()})

    def with_classes_apart(self) -> ImageTable:
        source = self.model_copy()
        source._are_apart = True
        return source

    def _classes(self) -> class_labels.Classes:
        """Return the training part's classes, and other parts' where these may have their own."""
        rows = self.rows() if self._are_apart else self._of("train")
        return class_labels.classes_of(self._labels(rows), self.class_names)

    def _labels(self, rows: Sequence[Row]) -> np.ndarray:
        """Return labels as whole numbers where all of the table are, else as words."""
        words = np.array([row.label for row in rows], str)
        return words.astype("int64") if all(row.label.isdecimal() for row in self.rows()) else words


@functools.lru_cache(maxsize=4)
def _rows(source: ImageTable, version: str) -> list[Row]:
    """Return the images of a table, kept until its version changes. Raises UserError."""
    if not os.path.getsize(source.path):
        raise UserError(f"data: {source.path} is empty; it must have a header and rows")
    table = _read(source.path)
    names = _texts(table, _column(table, source, "image", FILES))
    labels = _texts(table, _column(table, source, "label", LABELS))
    has_splits = source.split is not None or usual_column(table, SPLITS) is not None
    splits = _texts(table, _column(table, source, "split", SPLITS)) if has_splits else ["train"] * len(names)
    groups = _texts(table, _column(table, source, "group", ())) if source.group is not None else [""] * len(names)
    folder = Path(source.folder) if source.folder is not None else Path(source.path).parent
    rows = []
    for number, (name, label, split, group) in enumerate(zip(names, labels, splits, groups, strict=True), start=1):
        if not name or not label:
            raise UserError(f"data: {source.path} row {number} has no {'label' if name else 'file name'}; fill it in, "
                            "or take the row out")
        if split.lower() not in PARTS:
            raise UserError(f"data: {source.path} row {number} is of the split {split!r}; write {WRITTEN}")
        path = folder / f"{name}{source.suffix}".replace("\\", "/")  # Windows's
        rows.append(Row(number, name, str(path), label, PARTS[split.lower()], group))
    if not any(row.part == "train" for row in rows):
        raise UserError(f"data: {source.path} has no rows to train on")
    _refuse_contradictions(rows, source)
    return rows


def _read(path: str) -> pa.Table:
    # by default NA and the like would be missing, and not words
    return Csv(path=path, missing=("",)).read_file(Path(path))


def usual_column(table: pa.Table, usual: Sequence[str]) -> str | None:
    """Return the column that has the first of the usual names."""
    columns = {name.strip().lower(): name for name in reversed(table.column_names)}
    return next((columns[name] for name in usual if name in columns), None)


def _column(table: pa.Table, source: ImageTable, setting: str, usual: Sequence[str]) -> str:
    """Return the column that a setting names, or else one of a usual name. Raises UserError where there is none."""
    given = getattr(source, setting)
    if given in table.column_names:
        return str(given)
    chosen = usual_column(table, usual) if given is None else None
    if chosen is None:
        lacks = f"column {given}" if given is not None else f"column called {', '.join(usual[:4])} or the like"
        raise UserError(f"{SETTING}.{setting}: {source.path} has no {lacks}; its columns: "
                        f"{', '.join(table.column_names)}. Give the name of the one to take")
    return chosen


def _texts(table: pa.Table, column: str) -> list[str]:
    return [(text or "").strip() for text in table.column(column).to_pylist()]


def _refuse_contradictions(rows: Sequence[Row], source: ImageTable) -> None:
    """Raise UserError where a file is listed twice, otherwise than before."""
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(row.path, row)
        if (first.label, first.part) != (row.label, row.part):
            raise UserError(f"data: {source.path} has {row.name} in row {first.number} as {first.label} "
                            f"({first.part}), and in row {row.number} as {row.label} ({row.part}); an image has one "
                            "label, and is of one part")
