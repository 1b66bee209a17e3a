"""The user's own images with a mask each: a folder of images beside a folder of masks."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
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

#: Endings of files that keep the values of a mask.
MASK_SUFFIXES = {".png", ".bmp", ".gif", ".tif", ".tiff"}
SETTING = "data.source.image_and_mask_folder"


class ImageAndMaskFolder(Source, name="image_and_mask_folder", shorthand="path"):
    """A folder of images beside one of masks, images/1.jpg and masks/1.png, or train/val/test folders of such.

    Masks are of their images' size, PNG, BMP, GIF or TIFF. Folders below these may hold them too, alike in both. Hidden
    files and folders, and what systems leave behind, are passed over.

    Args:
        path: the folder, relative to where litepress runs.
        images, masks: what the folders are called.
        suffix: what the name of a mask has behind the image's, for instance _mask.
    """

    path: str = Setting(min_length=1)
    images: str = Setting("images", min_length=1)
    masks: str = Setting("masks", min_length=1)
    suffix: str = ""

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts():
            for pair in self.pairs(part):
                for path in pair:
                    status = os.stat(path)
                    digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes"), "mask": Field(kind="bytes")}

    def parts(self) -> list[Part]:
        folders = folders_of_parts(self._folders())
        known = set(folders.values())
        if len(known) < len(folders):
            raise UserError(f"{SETTING}.path: {self.path} has {', '.join(folders)}, and two of them are one part; keep "
                            "one")
        if known and "train" not in known:
            raise UserError(f"{SETTING}.path: {self.path} has {' and '.join(sorted(known))} but no train folder")
        return [part for part in ("train", "validation", "test") if part in known] or ["train"]

    def size(self, part: Part) -> int | None:
        return len(self.pairs(part))

    def pairs(self, part: Part) -> list[tuple[str, str]]:
        """Return the paths of every image of a part and of its mask, sorted by name. Raises UserError where one lacks
        the other."""
        root = self._root(part)
        images = self._files(root / self.images, image_file.SUFFIXES | image_file.NOT_READ, "")
        masks = self._files(root / self.masks, MASK_SUFFIXES, self.suffix)
        if not images:
            raise UserError(f"{SETTING}.path: {root / self.images} has no images ({image_file.READ})")
        if alone := sorted(set(images) - set(masks)):
            raise UserError(f"{SETTING}: {_counted(len(alone), 'image has', 'images have')} no mask in "
                            f"{root / self.masks}, the first {images[alone[0]]}; its mask would be "
                            f"{root / self.masks / alone[0]}{self.suffix}.png (a JPEG does not keep the values)")
        if alone := sorted(set(masks) - set(images)):
            raise UserError(f"{SETTING}: {_counted(len(alone), 'mask has', 'masks have')} no image in "
                            f"{root / self.images}, the first {masks[alone[0]]}; take it out, or add the image")
        return [(str(images[name]), str(masks[name])) for name in sorted(images)]

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        pairs = self.pairs(part)
        chosen = pairs if positions is None else [pairs[position] for position in positions]
        listed = {"image": [image for image, _ in chosen], "mask": [mask for _, mask in chosen]}
        names = tf.data.Dataset.from_tensor_slices({name: tf.constant(paths, tf.string)
                                                    for name, paths in listed.items()})
        return names.map(lambda one: {"image": tf.io.read_file(one["image"]), "mask": tf.io.read_file(one["mask"]),
                                      "id": one["image"]}, num_parallel_calls=tf.data.AUTOTUNE)

    def groups(self, part: Part, name: str, positions: Sequence[int]) -> list[str] | None:
        """Return, as `folder`, the first folder of each image below that of the images; of one that lies in it, its
        name."""
        if name != image_file.FOLDER:
            return super().groups(part, name, positions)
        root, pairs = self._root(part) / self.images, self.pairs(part)
        return [image_file.group_of(Path(pairs[position][0]).relative_to(root).parts) for position in positions]

    def _root(self, part: Part) -> Path:
        base = Path(self.path)
        named = (name for name, own in folders_of_parts(self._folders()).items() if own == part)
        root = base / next(named, ".")
        for setting, name in (("images", self.images), ("masks", self.masks)):
            if not (root / name).is_dir():
                listed = ", ".join(child.name for child in image_file.folders(root)) or "none"
                raise UserError(f"{SETTING}.{setting}: {root} has no folder {name}; its folders: {listed}. Give the "
                                "name of yours")
        return root

    def _folders(self) -> list[str]:
        base = Path(self.path)
        if not base.is_dir():
            reason = "not a folder" if base.exists() else "not there"
            raise UserError(f"{SETTING}.path: {self.path} is {reason}; give a folder with the folders {self.images} "
                            f"and {self.masks} in it")
        return [child.name for child in image_file.folders(base)]

    def _files(self, folder: Path, suffixes: Collection[str], behind: str) -> dict[str, Path]:
        """Return the files of a folder and those below, by their place in it without ending and what is behind their
        name."""
        files: dict[str, Path] = {}
        for path in sorted(image_file.files(folder, below=True)):
            if path.suffix.lower() not in suffixes or not path.stem.endswith(behind):
                continue
            name = path.relative_to(folder).with_suffix("").as_posix().removesuffix(behind)
            if name in files:
                raise UserError(f"{SETTING}: {files[name]} and {path} have one name; rename one of them")
            files[name] = path
        return files


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
