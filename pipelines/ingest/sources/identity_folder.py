"""Pictures of people, or of any other identities: a folder for each, and pairs that a file lists."""
from __future__ import annotations

import collections
import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

SETTING = "data.source.identity_folder"
#: What fills a row of a picture that is in fewer pairs than another.
NONE = -1


class Pair(NamedTuple):
    """Two pictures that a file lists, by paths, and the fold that they are of."""

    first: str
    second: str
    fold: int


class IdentityFolder(Source, name="identity_folder", shorthand="path"):
    """A folder with one folder of images for each identity; whole identities are held out.

    Labeled Faces in the Wild lies so, and with its `pairs.txt` embeddings are measured on just these pairs: the
    identities that the file names are tested on, and the others are learnt from. CASIA-WebFace lies so too, and is
    tested on another folder.

    Args:
        path: the folder, relative to where litepress runs.
        test: a folder of other identities, which are tested on; those that both have are left out of the training.
        pairs: a file of pairs as LFW's pairs.txt and pairsDevTest.txt are, about the pictures tested on: `Name 1 4`, or
            `Name 1 Other 2`, where Name/Name_0001.jpg is a picture.
    """

    path: str = Setting(min_length=1)
    test: str | None = Setting(None, min_length=1)
    pairs: str | None = Setting(None, min_length=1)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(str(self.model_dump()).encode())
        listed = [self.pairs] if self.pairs is not None else []
        for path in [*listed, *(path for part in self.parts() for path, _ in self._files(part))]:
            if not os.path.isfile(path):
                raise UserError(f"{SETTING}.pairs: there is no file {path}")
            status = os.stat(path)
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def fields(self) -> dict[str, Field]:
        fields = {"image": Field(kind="bytes"), "label": Field(kind="class", names=self._names())}
        if self.pairs is not None:
            most = max(len(rows) for rows in self._memberships().values())
            fields["pairs"] = Field(kind="array", shape=(most, 2), dtype="int32")
        return fields

    def parts(self) -> list[Part]:
        return ["train"] if self.test is None and self.pairs is None else ["train", "test"]

    def size(self, part: Part) -> int | None:
        return len(self._files(part))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the pictures of a part, identity by identity; an example's id is its path."""
        files = self._files(part)
        chosen = files if positions is None else [files[position] for position in positions]
        columns = {"id": tf.constant([path for path, _ in chosen], tf.string),
                   "label": tf.constant([label for _, label in chosen], tf.int64)}
        if self.pairs is not None:
            shape = self.fields()["pairs"].shape
            rows = np.full((len(chosen), *(size or 0 for size in shape or ())), NONE, "int32")
            memberships = self._memberships()
            for number, (path, _) in enumerate(chosen):
                for place, row in enumerate(memberships.get(path, ())):
                    rows[number, place] = row
            columns["pairs"] = rows
        return tf.data.Dataset.from_tensor_slices(columns).map(
            lambda example: {**example, "image": tf.io.read_file(example["id"])}, num_parallel_calls=tf.data.AUTOTUNE)

    def _files(self, part: Part) -> list[tuple[str, int]]:
        """Return path and identity of every picture of a part. Raises UserError where there are none."""
        numbers = {name: number for number, name in enumerate(self._names())}
        tested = set(self._identities(self.test)) if self.test is not None else self._paired()
        root, held = self.path, {name for name in self._identities(self.path) if name not in tested}
        if part == "test":
            root, held = self.test or self.path, tested
        return [(path, numbers[name]) for name, paths in self._identities(root).items() if name in held
                for path in paths]

    def _paired(self) -> set[str]:
        """Return the identities that the pairs name."""
        return {Path(path).parent.name for pair in self._listed() for path in (pair.first, pair.second)}

    def _names(self) -> list[str]:
        names = [*self._identities(self.path), *(self._identities(self.test) if self.test is not None else ())]
        return list(dict.fromkeys(names))

    def _identities(self, root: str) -> dict[str, list[str]]:
        if not os.path.isdir(root):
            reason = "not a folder" if os.path.exists(root) else "not there"
            setting = "path" if root == self.path else "test"
            raise UserError(f"{SETTING}.{setting}: {root} is {reason}; give a folder with one folder of images for "
                            "each identity")
        identities = _identities(root, os.stat(root).st_mtime_ns)
        if len(identities) < 2:
            raise UserError(f"{SETTING}: {root} needs one folder of images for each identity, at least two; it has "
                            f"{len(identities)}")
        return identities

    def _listed(self) -> list[Pair]:
        if self.pairs is None:
            return []
        if not os.path.isfile(self.pairs):
            raise UserError(f"{SETTING}.pairs: there is no file {self.pairs}")
        return _pairs(self.pairs, self.test or self.path, os.stat(self.pairs).st_mtime_ns)

    def _memberships(self) -> dict[str, list[tuple[int, int]]]:
        """Return the pairs that each picture is in, by path: number and fold."""
        rows: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
        for number, pair in enumerate(self._listed()):
            rows[pair.first].append((number, pair.fold))
            rows[pair.second].append((number, pair.fold))
        return rows


@functools.lru_cache(maxsize=8)
def _identities(root: str, version: int) -> dict[str, list[str]]:
    """Return the pictures of each identity that has some, kept until the folder's version changes."""
    identities = {folder.name: [str(path) for path in image_file.images(folder, below=True)]
                  for folder in image_file.folders(Path(root))}
    return {name: paths for name, paths in identities.items() if paths}


@functools.lru_cache(maxsize=4)
def _pairs(file: str, root: str, version: int) -> list[Pair]:
    """Return the pairs that a file lists, kept until its version changes.

    A first line of one or two numbers says how many pairs of each kind a fold has, behind the number of folds. Where
    there is one, or none, pairs are dealt to ten in turn.

    Raises:
        UserError: a line is no pair, or a picture is not there.
    """
    lines = [line.split() for line in Path(file).read_text().splitlines() if line.strip()]
    head = lines[0] if lines and len(lines[0]) < 3 and all(word.isdecimal() for word in lines[0]) else []
    each = 2 * int(head[1]) if len(head) == 2 and int(head[0]) > 1 else 0
    pairs = []
    for number, words in enumerate(lines[1:] if head else lines):
        where = f"{file} line {number + 1 + bool(head)}"
        first = _picture(root, words[:2], where)
        second = _picture(root, [words[0], words[2]] if len(words) == 3 else words[2:], where)
        pairs.append(Pair(first, second, number // each if each else number % 10))
    if not pairs:
        raise UserError(f"{SETTING}.pairs: {file} lists no pairs")
    return pairs


def _picture(root: str, words: Sequence[str], where: str) -> str:
    """Return the path of a picture, given its identity and number. Raises UserError."""
    if len(words) != 2 or not words[1].isdecimal():
        raise UserError(f"{SETTING}.pairs: {where} is no pair; write Name 1 4, or Name 1 Other 2")
    name, number = words[0], int(words[1])
    wanted = f"{name}_{number:04d}"
    for path in _identities(root, os.stat(root).st_mtime_ns).get(name, ()):
        if Path(path).stem == wanted:
            return path
    raise UserError(f"{SETTING}.pairs: {where} names {name}/{wanted}, which is not in {root}")
