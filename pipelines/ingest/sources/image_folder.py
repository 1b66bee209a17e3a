"""The user's own pictures: a folder with one folder per class."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import Field

from pipelines.errors import UserError
from pipelines.ingest.sources.source import Part, Source

with epy.lazy_imports():
    import tensorflow as tf

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif"}
PART_FOLDERS: dict[str, Part] = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


class ImageFolder(Source, name="image_folder", shorthand="path"):
    """A folder of pictures (JPEG, PNG, BMP, GIF), one folder per class, or train/val/test folders of such.

    Args:
        path: the folder, relative to where litepress runs.
    """

    path: str = Field(min_length=1)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts():
            for name, _ in self.files(part):
                status = os.stat(name)
                digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def parts(self) -> list[Part]:
        known = {PART_FOLDERS[name.lower()] for name in self._folders(Path(self.path)) if name.lower() in PART_FOLDERS}
        if known and "train" not in known:
            raise UserError(f"data.source.image_folder.path: {self.path} has {' and '.join(sorted(known))} but no train folder")
        return [part for part in ("train", "validation", "test") if part in known] or ["train"]

    def classes(self) -> list[str]:
        names = self._folders(self._root("train"))
        if len(names) < 2:
            hint = "Pictures lie in it directly." if any(
                child.suffix.lower() in PICTURES for child in Path(self.path).iterdir()) else f"Found: {', '.join(names) or 'none'}."
            raise UserError(f"data.source.image_folder.path: {self._root('train')} needs one folder per class, at least two. {hint}")
        return names

    def files(self, part: Part) -> list[tuple[str, int]]:
        """Path and label of every picture of a part, sorted by class and name."""
        root, classes = self._root(part), self.classes()
        strangers = set(self._folders(root)) - set(classes)
        if strangers:
            raise UserError(f"data.source.image_folder.path: {root} has classes that the training part lacks: "
                            f"{', '.join(sorted(strangers))}")
        found = []
        for label, name in enumerate(classes):
            pictures = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
            if not pictures and part == "train":
                raise UserError(f"data.source.image_folder.path: class {name} has no pictures in {root / name} "
                                "(JPEG, PNG, BMP or GIF)")
            found += [(str(path), label) for path in pictures]
        return found

    def size(self, part: Part) -> int | None:
        return len(self.files(part))

    def raw(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        files = self.files(part)
        chosen = files if positions is None else [files[position] for position in positions]
        names, labels = (list(column) for column in zip(*chosen, strict=True)) if chosen else ([], [])
        listed = tf.data.Dataset.from_tensor_slices((tf.constant(names, tf.string), tf.constant(labels, tf.int64)))
        return listed.map(lambda name, label: (tf.io.read_file(name), label, name), num_parallel_calls=tf.data.AUTOTUNE)

    def _root(self, part: Part) -> Path:
        base = Path(self.path)
        for name in self._folders(base):
            if PART_FOLDERS.get(name.lower()) == part:
                return base / name
        return base

    def _folders(self, folder: Path) -> list[str]:
        if not folder.is_dir():
            raise UserError(f"data.source.image_folder.path: {self.path} is {'not a folder' if folder.exists() else 'not there'}; "
                            "give a folder with one folder of pictures per class")
        return sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
