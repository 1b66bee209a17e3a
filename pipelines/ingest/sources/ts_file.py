"""The .ts files of aeon and sktime: whole series, each with a class."""
from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

SERIES, LABEL = "series", "label"
#: What ends the name of a part's file.
ENDINGS: dict[Part, str] = {"train": "_TRAIN.ts", "test": "_TEST.ts"}


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The series of a file.

    Args:
        name: of the file.
        values: float32 (series, steps, variables).
        labels: the class of each; none where the file has none.
        classes: that the file names.
    """

    name: str
    values: np.ndarray
    labels: Sequence[str]
    classes: Sequence[str]


class TsFolder(Source, name="ts", shorthand="path"):
    """A folder with <name>_TRAIN.ts and <name>_TEST.ts, as aeon and sktime write sets of series with a class each.

    Without a _TEST.ts, shares of the training file are validated and tested on.

    Args:
        path: of the folder.
    """

    path: str = Setting(min_length=1)

    def fingerprint(self) -> str:
        return " ".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in self._files().values())

    def parts(self) -> list[Part]:
        return list(self._files())

    def fields(self) -> dict[str, Field]:
        first = self._part("train")
        steps, variables = first.values.shape[1:]
        return {SERIES: Field(kind="array", shape=(steps, variables), dtype="float32"),
                LABEL: Field(kind="class", names=list(first.classes))}

    def size(self, part: Part) -> int | None:
        return len(self._part(part).values)

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the series of a part in the order of the file; an example's id is the file and its number from 1."""
        read = self._part(part)
        count = len(read.values)
        taken = np.arange(count) if positions is None else np.asarray(positions, int)
        taken = taken[taken < count]
        labels = np.array([list(self._part("train").classes).index(read.labels[number]) for number in taken], "int64")
        names = np.array([f"{read.name} series {number + 1}" for number in taken], object)
        return tf.data.Dataset.from_tensor_slices({SERIES: read.values[taken], LABEL: labels, "id": names})

    def _files(self) -> Mapping[Part, Path]:
        folder = Path(self.path)
        if not folder.is_dir():
            raise UserError(f"data.source.ts.path: {self.path} is not a folder; give the one with <name>_TRAIN.ts")
        files: dict[Part, Path] = {}
        for part, ending in ENDINGS.items():
            own = sorted(folder.glob(f"*{ending}"))
            equal = [path for path in own if path.name == f"{folder.name}{ending}"] or own
            if len(equal) > 1:
                raise UserError(f"data.source.ts.path: {self.path} has several files that end in {ending}: "
                                f"{', '.join(path.name for path in equal)}")
            if equal:
                files[part] = equal[0]
        if "train" not in files:
            raise UserError(f"data.source.ts.path: {self.path} has no file that ends in {ENDINGS['train']}")
        return files

    def _part(self, part: Part) -> Labelled:
        parts = _read(self.fingerprint(), tuple(self._files().items()))
        return parts[part]


@functools.lru_cache(maxsize=4)
def _read(version: str, files: Sequence[tuple[Part, Path]]) -> Mapping[Part, Labelled]:
    parts = {part: read(path) for part, path in files}
    first = parts["train"]
    if not first.classes:
        raise UserError(f"data: {first.name} has no classes (@classLabel true and their names)")
    for one in parts.values():
        if one.values.shape[1:] != first.values.shape[1:]:
            raise UserError(f"data: {one.name} has series of {one.values.shape[1]} steps and {one.values.shape[2]} "
                            f"variables; those of {first.name} have {first.values.shape[1]} and "
                            f"{first.values.shape[2]}")
        if unknown := sorted(set(one.labels) - set(first.classes)):
            raise UserError(f"data: {one.name} has the class {unknown[0]}, which is not one of "
                            f"{', '.join(first.classes)}")
    return parts


def read(path: Path) -> Labelled:
    """Return the series of a .ts file.

    Raises:
        UserError: it cannot be read, has stamps, a missing value, or series of several lengths.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    classes: list[str] = []
    start = None
    for number, line in enumerate(lines):
        word, _, rest = line.partition(" ")
        if word.lower() == "@classlabel" and rest.lower().startswith("true"):
            classes = rest.split()[1:]
        elif word.lower() == "@timestamps" and rest.lower().startswith("true"):
            raise UserError(f"data: {path.name} has a stamp for each value, and classes are told apart by the order of "
                            "steps: write it without stamps")
        elif word.lower() == "@data":
            start = number + 1
            break
    if start is None:
        raise UserError(f"data: {path.name} is not a .ts file: it has no line @data")
    rows = [(number + 1, line) for number, line in enumerate(lines) if number >= start and line]
    if not rows:
        raise UserError(f"data: {path.name} has no series behind @data")
    values, labels = [], []
    for number, line in rows:
        *dimensions, label = line.split(":") if classes else [*line.split(":"), ""]
        values.append(_numbers(dimensions, path.name, number))
        labels.append(label.strip())
        if values[-1].shape != values[0].shape:
            raise UserError(f"data: {path.name} line {number} has {values[-1].shape[0]} steps of "
                            f"{values[-1].shape[1]} variables, and the first series {values[0].shape[0]} of "
                            f"{values[0].shape[1]}; a model takes one length: cut or pad them")
    return Labelled(path.name, np.stack(values), labels if classes else [], classes)


def _numbers(dimensions: Sequence[str], name: str, number: int) -> np.ndarray:
    """Return a line's numbers, (steps, variables)."""
    try:
        rows = [np.array(dimension.split(","), "float32") for dimension in dimensions]
    except ValueError:
        missing = any(word.strip() in ("?", "NaN") for dimension in dimensions for word in dimension.split(","))
        raise UserError(f"data: {name} line {number} has " + (
            "a missing value (?): fill it in" if missing else "something that is not a number")) from None
    if len({len(row) for row in rows}) != 1:
        raise UserError(f"data: {name} line {number} has variables of several lengths; cut or pad them")
    result = np.stack(rows, axis=1)
    if not np.isfinite(result).all():
        raise UserError(f"data: {name} line {number} has a missing value, or one that is infinite: fill it in")
    return result
