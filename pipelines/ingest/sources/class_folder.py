"""Folders of a user's own files, one folder per class."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from etils import epy
from pydantic import PrivateAttr

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.part_folder import PartFolder

with epy.lazy_imports():
    import tensorflow as tf


class ClassFolder(PartFolder):
    """A folder of files of one kind, one folder per class, or train/val/test folders of such.

    Hidden files and folders, and what systems leave behind, are passed over.

    Args:
        path: the folder, relative to where litepress runs.
    """

    #: What the files are called among the fields.
    field: ClassVar[str]
    #: The kinds of files that are read, for people.
    read_files: ClassVar[str]
    _are_apart: bool = PrivateAttr(False)

    @property
    def wanted(self) -> str:
        return f"give a folder with one folder of {self.plural} per class"

    def files_in(self, folder: Path, *, below: bool = False) -> list[Path]:
        """Return the files in a folder, and in those below too, sorted."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts():
            for name, _ in self.files(part):
                status = os.stat(name)
                digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def fields(self) -> dict[str, Field]:
        return {self.field: Field(kind="bytes"), "label": Field(kind="class", names=self._classes())}

    def files(self, part: Part) -> list[tuple[str, int]]:
        """Return path and label of every file of a part, sorted by class and name."""
        root, classes = self._root(part), self._classes()
        own = self._folders(root)
        unknown = set(own) - set(classes)
        if unknown:
            raise UserError(f"data.source.{self.entry_name}.path: {root} has classes that the training part lacks: "
                            f"{', '.join(sorted(unknown))}")
        files = []
        for label, name in enumerate(classes):
            if name not in own:
                continue
            own_files = self.files_in(root / name, below=True)
            if not own_files and part == "train":
                raise UserError(f"data.source.{self.entry_name}.path: class {name} has no {self.plural} in "
                                f"{root / name} ({self.read_files})")
            files += [(str(path), label) for path in own_files]
        return files

    def size(self, part: Part) -> int | None:
        return len(self.files(part))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the files of a part; an example's id is its path."""
        files = self.files(part)
        chosen = files if positions is None else [files[position] for position in positions]
        names, labels = (list(column) for column in zip(*chosen, strict=True)) if chosen else ([], [])
        listed = tf.data.Dataset.from_tensor_slices((tf.constant(names, tf.string), tf.constant(labels, tf.int64)))
        return listed.map(lambda name, label: {self.field: tf.io.read_file(name), "label": label, "id": name},
                          num_parallel_calls=tf.data.AUTOTUNE)

    def groups(self, part: Part, name: str, positions: Sequence[int]) -> list[str] | None:
        """Return, as `folder`, the first folder of each file below its class; of one that lies in it, its name."""
        if name != image_file.FOLDER:
            return super().groups(part, name, positions)
        root, files = self._root(part), self.files(part)
        return [image_file.group_of(Path(files[position][0]).relative_to(root).parts[1:]) for position in positions]

    def with_classes_apart(self) -> ClassFolder:
        source = self.model_copy()
        source._are_apart = True
        return source

    def _classes(self) -> list[str]:
        """Return the names of the training part's classes, and of other parts' where these may have their own."""
        root = self._root("train")
        names = self._folders(root)
        if len(names) < 2:
            direct = self.files_in(Path(self.path))
            hint = (f"{self.plural.capitalize()} lie in it directly." if direct
                    else f"Found: {', '.join(names) or 'none'}.")
            raise UserError(f"data.source.{self.entry_name}.path: {root} needs one folder per class, at least two. "
                            f"{hint}")
        if not self._are_apart:
            return names
        return sorted({name for part in self.parts() for name in self._folders(self._root(part))})
