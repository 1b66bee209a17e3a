"""The user's own texts: a folder with one folder of text files per class."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.part_names import folders_of_parts
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import tensorflow as tf

ENDING = ".txt"


class TextFolder(Source, name="text_folder", shorthand="path"):
    """A folder of .txt files in UTF-8, one folder per class, or train/val/test folders of such.

    A file is one text. Hidden files and folders, and what systems leave behind, are passed over.

    Args:
        path: the folder, relative to where litepress runs.
        classes: the folders to take; all of them where not given.
    """

    path: str = Setting(min_length=1)
    classes: tuple[str, ...] | None = Setting(None, min_length=2)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts():
            for name, _ in self.files(part):
                status = os.stat(name)
                digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def parts(self) -> list[Part]:
        known = set(self._parts().values())
        if known and "train" not in known:
            raise UserError(f"data.source.text_folder.path: {self.path} has {' and '.join(sorted(known))} but no train "
                            "folder")
        return [part for part in ("train", "validation", "test") if part in known] or ["train"]

    def fields(self) -> dict[str, Field]:
        return {"text": Field(kind="text"), "label": Field(kind="class", names=self._classes())}

    def files(self, part: Part) -> list[tuple[str, int]]:
        """Return path and label of every text of a part, sorted by class and name. Raises UserError."""
        root, classes = self._root(part), self._classes()
        own = self._folders(root)
        unknown = set(own) - set(classes) if self.classes is None else set()
        if unknown:
            raise UserError(f"data.source.text_folder.path: {root} has classes that the training part lacks: "
                            f"{', '.join(sorted(unknown))}")
        files = []
        for label, name in enumerate(classes):
            texts = _texts(root / name) if name in own else []
            if not texts and part == "train":
                raise UserError(f"data.source.text_folder.path: class {name} has no {ENDING} files in {root / name}")
            files += [(str(path), label) for path in texts]
        return files

    def size(self, part: Part) -> int | None:
        return len(self.files(part))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the texts of a part; an example's id is its path."""
        files = self.files(part)
        chosen = files if positions is None else [files[position] for position in positions]
        names, labels = (list(column) for column in zip(*chosen, strict=True)) if chosen else ([], [])
        listed = tf.data.Dataset.from_tensor_slices((tf.constant(names, tf.string), tf.constant(labels, tf.int64)))
        return listed.map(lambda name, label: {"text": tf.io.read_file(name), "label": label, "id": name},
                          num_parallel_calls=tf.data.AUTOTUNE)

    def _classes(self) -> list[str]:
        """Return the names of the training part's classes."""
        root = self._root("train")
        names = self._folders(root)
        if self.classes is not None and (absent := [name for name in self.classes if name not in names]):
            raise UserError(f"data.source.text_folder.classes: {root} has no folder {absent[0]}; it has "
                            f"{', '.join(names) or 'none'}")
        if len(names) < 2:
            raise UserError(f"data.source.text_folder.path: {root} needs one folder per class, at least two. Found: "
                            f"{', '.join(names) or 'none'}.")
        return list(self.classes) if self.classes is not None else names

    def _parts(self) -> dict[str, Part]:
        """Return the folders that stand for parts, and which."""
        return folders_of_parts(self._folders(Path(self.path)))

    def _root(self, part: Part) -> Path:
        return Path(self.path) / next((name for name, own in self._parts().items() if own == part), ".")

    def _folders(self, folder: Path) -> list[str]:
        if not folder.is_dir():
            reason = "not a folder" if folder.exists() else "not there"
            raise UserError(f"data.source.text_folder.path: {self.path} is {reason}; give a folder with one folder of "
                            f"{ENDING} files per class")
        return [child.name for child in image_file.folders(folder)]


def _texts(folder: Path) -> list[Path]:
    return sorted(path for path in image_file.files(folder, below=True) if path.suffix.lower() == ENDING)
