"""The user's own images: a folder with one folder per class."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting
from pydantic import PrivateAttr

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.part_names import folders_of_parts
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import tensorflow as tf


class ImageFolder(Source, name="image_folder", shorthand="path"):
    """A folder of images, one folder per class, or train/val/test folders of such.

    What is an image by its name and is not read, say HEIC, counts as unreadable. Hidden files and folders, and what
    systems leave behind, are passed over.

    Args:
        path: the folder, relative to where litepress runs.
    """

    path: str = Setting(min_length=1)
    _are_apart: bool = PrivateAttr(False)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts():
            for name, _ in self.files(part):
                status = os.stat(name)
                digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def parts(self) -> list[Part]:
        known = set(folders_of_parts(self._folders(Path(self.path))).values())
        if known and "train" not in known:
            raise UserError(f"data.source.image_folder.path: {self.path} has {' and '.join(sorted(known))} but no "
                            "train folder")
        return [part for part in ("train", "validation", "test") if part in known] or ["train"]

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes"), "label": Field(kind="class", names=self._classes())}

    def files(self, part: Part) -> list[tuple[str, int]]:
        """Return path and label of every image of a part, sorted by class and name."""
        root, classes = self._root(part), self._classes()
        own = self._folders(root)
        unknown = set(own) - set(classes)
        if unknown:
            raise UserError(f"data.source.image_folder.path: {root} has classes that the training part lacks: "
                            f"{', '.join(sorted(unknown))}")
        files = []
        for label, name in enumerate(classes):
            if name not in own:
                continue
            images = image_file.images(root / name, below=True)
            if not images and part == "train":
                raise UserError(f"data.source.image_folder.path: class {name} has no images in {root / name} "
                                f"({image_file.READ})")
            files += [(str(path), label) for path in images]
        return files

    def size(self, part: Part) -> int | None:
        return len(self.files(part))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the images of a part; an example's id is its path."""
        files = self.files(part)
        chosen = files if positions is None else [files[position] for position in positions]
        names, labels = (list(column) for column in zip(*chosen, strict=True)) if chosen else ([], [])
        listed = tf.data.Dataset.from_tensor_slices((tf.constant(names, tf.string), tf.constant(labels, tf.int64)))
        return listed.map(lambda name, label: {"image": tf.io.read_file(name), "label": label, "id": name},
                          num_parallel_calls=tf.data.AUTOTUNE)

    def groups(self, part: Part, name: str, positions: Sequence[int]) -> list[str] | None:
        """Return, as `folder`, the first folder of each image below its class; of one that lies in it, its name."""
        if name != image_file.FOLDER:
            return super().groups(part, name, positions)
        root, files = self._root(part), self.files(part)
        return [image_file.group_of(Path(files[position][0]).relative_to(root).parts[1:]) for position in positions]

    def with_classes_apart(self) -> ImageFolder:
        source = self.model_copy()
        source._are_apart = True
        return source

    def _classes(self) -> list[str]:
        """Return the names of the training part's classes, and of other parts' where these may have their own."""
        root = self._root("train")
        names = self._folders(root)
        if len(names) < 2:
            direct = image_file.images(Path(self.path))
            hint = "Images lie in it directly." if direct else f"Found: {', '.join(names) or 'none'}."
            raise UserError(f"data.source.image_folder.path: {root} needs one folder per class, at least two. {hint}")
        if not self._are_apart:
            return names
        return sorted({name for part in self.parts() for name in self._folders(self._root(part))})

    def _root(self, part: Part) -> Path:
        base = Path(self.path)
        known = folders_of_parts(self._folders(base))
        return base / next((name for name, own in known.items() if own == part), ".")

    def _folders(self, folder: Path) -> list[str]:
        if not folder.is_dir():
            reason = "not a folder" if folder.exists() else "not there"
            raise UserError(f"data.source.image_folder.path: {self.path} is {reason}; give a folder with one folder of "
                            "images per class")
        return [child.name for child in image_file.folders(folder)]
