"""Recordings that a list names, with who speaks, in which language, and what is said."""
from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting
from pydantic import PrivateAttr

from pipelines.errors import UserError
from pipelines.features import audio_file
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources import manifest
from pipelines.ingest.sources.manifest import FILES, PART, TRANSCRIPTS, Row
from pipelines.ingest.sources.part_names import PARTS, WRITTEN
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

ORDER: tuple[Part, ...] = ("train", "validation", "test")
AUDIO, LABEL, TRANSCRIPT, ID = "audio", "label", "transcript", "id"


@dataclasses.dataclass(frozen=True)
class Listed:
    """A recording in a list.

    Args:
        path: of its file.
        part: that it belongs to.
        columns: what the list says of it; its transcript under the name `transcript` too.
    """

    path: str
    part: Part
    columns: Row


class Recordings(Source, name="recordings", shorthand="path"):
    """Recordings that a list names, a row each: a CSV, TSV or JSON Lines file, or a folder of Common Voice or Kaldi.

    Columns are found by their usual names (file, path, audio_filepath …; transcript, sentence, text …). Every column
    is a field, by which examples can be grouped.

    Args:
        path: the list, relative to where litepress runs.
        folder: what the names of the files start from; the list's own folder where not given, and Common Voice's clips.
        file, transcript: what the columns are called, where it is something else.
        label: the column of what is learnt where a class is: a word, a language, a voice.
        split: the column that says train, validation or test.
        where: columns, and the values that rows must have to be taken.
        test: columns, and the values of rows to test on: voices that are not learnt from, for instance.
        longest: seconds; recordings that last longer are left out.
    """

    path: str = Setting(min_length=1)
    folder: str | None = Setting(None, min_length=1)
    file: str | None = Setting(None, min_length=1)
    transcript: str | None = Setting(None, min_length=1)
    label: str | None = Setting(None, min_length=1)
    split: str | None = Setting(None, min_length=1)
    where: dict[str, list[str]] = {}
    test: dict[str, list[str]] = {}
    longest: float | None = Setting(None, gt=0)
    _kept: tuple[str, list[Listed]] | None = PrivateAttr(None)

    def fingerprint(self) -> str:
        self.prepare()
        digest = hashlib.sha256(str(self.model_dump()).encode())
        for one in self._all():
            status = os.stat(one.path)
            digest.update(f"{one.path} {one.part} {dict(one.columns)} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Raise UserError where a file is not there."""
        paths = [one.path for one in self._all()]
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            count = "1 file is" if len(missing) == 1 else f"{len(missing):,} of {len(paths):,} files are"
            raise UserError(f"data.source.recordings: {count} not there, the first {missing[0]}. Say in folder what "
                            "the names start from")

    def fields(self) -> dict[str, Field]:
        texts = {name: Field(kind="text") for name in self._all()[0].columns}
        label = {} if self.label is None else {LABEL: Field(kind="class", names=self._classes(self.label))}
        return {**texts, AUDIO: Field(kind="bytes"), **label}

    def without(self, field: str) -> str | None:
        if field not in (LABEL, TRANSCRIPT):
            return None
        what = "column is learnt" if field == LABEL else "column says what is said"
        return f"data.source.recordings.{field}: say which {what}: {', '.join(self._all()[0].columns)}"

    def parts(self) -> list[Part]:
        present = {one.part for one in self._all()}
        if "train" not in present:
            raise UserError(f"data.source.recordings: {self.path} has no recordings to train on")
        return [part for part in ORDER if part in present]

    def size(self, part: Part) -> int | None:
        return len(self._of(part))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the recordings of a part in the list's order; an example's id is its path."""
        chosen = self._of(part, positions)
        columns = {name: tf.constant([one.columns[name] for one in chosen], tf.string)
                   for name in self._all()[0].columns}
        columns[ID] = tf.constant([one.path for one in chosen], tf.string)
        if self.label is not None:
            numbers = {name: number for number, name in enumerate(self._classes(self.label))}
            columns[LABEL] = tf.constant([numbers[one.columns[self.label]] for one in chosen], tf.int64)
        return tf.data.Dataset.from_tensor_slices(columns).map(
            lambda row: {**row, AUDIO: tf.io.read_file(row[ID])}, num_parallel_calls=tf.data.AUTOTUNE)

    def column(self, part: Part, field: str, positions: Sequence[int] | None = None) -> np.ndarray | None:
        if self.fields()[field].kind != "text":
            return None
        return np.array([one.columns[field].encode() for one in self._of(part, positions)], object)

    def _of(self, part: Part, positions: Sequence[int] | None = None) -> list[Listed]:
        own = [one for one in self._all() if one.part == part]
        return own if positions is None else [own[position] for position in positions]

    def _classes(self, label: str) -> list[str]:
        """Return the names of the classes, sorted. Raises UserError where other parts have one of their own."""
        rows = self._all()
        manifest.column([one.columns for one in rows], label, (), "the classes", "label")
        names = sorted({one.columns[label] for one in rows if one.part == "train"})
        if "" in names:
            raise UserError(f"data.source.recordings: {self.path} has rows without {label}; fill it in, or leave them "
                            "out by where")
        unknown = sorted({one.columns[label] for one in rows} - set(names))
        if unknown:
            raise UserError(f"data.source.recordings: no training recording has the {label} {unknown[0]}, which others "
                            "have")
        return names

    def _all(self) -> list[Listed]:
        """Return the recordings, read once. Raises UserError where the list cannot be read, or lacks a column."""
        path = Path(self.path)
        changed = manifest.changed_at(path)
        if self._kept is None or self._kept[0] != changed:
            self._kept = (changed, self._read(path, changed))
        return self._kept[1]

    def _read(self, path: Path, changed: str) -> list[Listed]:
        rows = manifest.read(path, changed)
        if not rows:
            raise UserError(f"data.source.recordings: {path} lists nothing")
        file = manifest.column(rows, self.file, FILES, "the files", "file")
        transcript = next((name for name in (self.transcript, *TRANSCRIPTS) if name in rows[0]), None)
        if self.transcript is not None:
            manifest.column(rows, self.transcript, (), "transcripts", "transcript")
        for setting, columns in (("where", self.where), ("test", self.test)):
            for name in columns:
                manifest.column(rows, name, (), "it", setting)
        if self.split is not None:
            manifest.column(rows, self.split, (), "the parts", "split")
        folder = Path(self.folder) if self.folder is not None else manifest.folder_of(path)
        taken = [row for row in rows if _has(row, self.where)]
        if not taken:
            raise UserError(f"data.source.recordings.where: {path} has no such rows")
        said = {} if transcript is None else {TRANSCRIPT: transcript}
        listed = [Listed(str(folder / row[file]), self._part(row), {
            **{name: text for name, text in row.items() if name not in (PART, AUDIO, LABEL, ID)},
            **{name: row[column] for name, column in said.items()}}) for row in taken]
        return [one for one in listed if self.longest is None or _seconds(one.path) <= self.longest]

    def _part(self, row: Row) -> Part:
        if self.test and _has(row, self.test):
            return "test"
        written = row.get(PART) or (row[self.split] if self.split is not None else "train")
        if written.lower() not in PARTS:
            raise UserError(f"data.source.recordings.split: {self.path} has {written!r} in the column {self.split}; it "
                            f"must be {WRITTEN}. Leave other rows out by where")
        return PARTS[written.lower()]


def _seconds(path: str) -> float:
    """Return how long a recording lasts; 0 where it cannot be read, which is said later."""
    try:
        return audio_file.header(Path(path)).seconds
    except ValueError:
        return 0.0


def _has(row: Row, values: Mapping[str, Sequence[str]]) -> bool:
    return all(row[column] in allowed for column, allowed in values.items())
