"""The user's own images: a folder of what is given, and one of what is to be made of it."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.ingest.index import Part
from pipelines.ingest.sources.image_pairs import IMAGE, TARGET, ImagePairs
from pipelines.ingest.sources.part_names import folders_of_parts

with epy.lazy_imports():
    import tensorflow as tf

SETTING = "data.source.two_image_folders"


class TwoImageFolders(ImagePairs, name="two_image_folders", shorthand="path"):
    """Folders A and B of images, or train, val and test folders with these in them, or trainA, trainB, testA and so on.

    With `paired: true` images of one name, but for its ending, are a pair. Otherwise names mean nothing: each image of
    A has one of B beside it, which are taken evenly from all where there are more.

    Args:
        path: the folder, relative to where litepress runs.
        a, b: what the folders are called.
        paired: see above.
    """

    path: str = Setting(min_length=1)
    a: str = Setting("A", min_length=1)
    b: str = Setting("B", min_length=1)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(str(self.paired).encode())
        for part in self.parts():
            for path in (one for pair in self.pairs(part) for one in pair):
                status = os.stat(path)
                digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def parts(self) -> list[Part]:
        known = self._roots()
        if "train" not in known:
            raise UserError(f"{SETTING}.path: {self.path} has {' and '.join(sorted(known))} but no train folder")
        return [part for part in ("train", "validation", "test") if part in known]

    def size(self, part: Part) -> int | None:
        return len(self.pairs(part))

    def pairs(self, part: Part) -> list[tuple[str, str]]:
        """Return the paths of each image of A in a part, by name, and of the image of B beside it.

        Raises:
            UserError: a folder has no images, or an image of a pair is missing.
        """
        folders = self._roots()[part]
        first, second = (_images(folder, other) for folder, other in (folders, folders[::-1]))
        if not self.paired:
            ordered = sorted(second)
            beside = [ordered[position * len(ordered) // len(first)] for position in range(len(first))]
            return [(str(first[name]), str(second[other])) for name, other in zip(sorted(first), beside, strict=True)]
        for own, others, there in ((first, second, folders[1]), (second, first, folders[0])):
            if alone := sorted(set(own) - set(others)):
                raise UserError(f"{SETTING}: {len(alone)} images have no other of their name in {there}, the first "
                                f"{own[alone[0]]}; add it, take these out, or set paired: false, which learns without "
                                "pairs")
        return [(str(first[name]), str(second[name])) for name in sorted(first)]

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        pairs = self.pairs(part)
        chosen = pairs if positions is None else [pairs[position] for position in positions]
        listed = {IMAGE: [one for one, _ in chosen], TARGET: [other for _, other in chosen]}
        names = tf.data.Dataset.from_tensor_slices({name: tf.constant(paths, tf.string)
                                                    for name, paths in listed.items()})
        return names.map(lambda one: {IMAGE: tf.io.read_file(one[IMAGE]), TARGET: tf.io.read_file(one[TARGET]),
                                      "id": one[IMAGE]}, num_parallel_calls=tf.data.AUTOTUNE)

    def _roots(self) -> dict[Part, tuple[Path, Path]]:
        """Return the folders A and B of each part. Raises UserError where there are none, or one without the other."""
        base = Path(self.path)
        if not base.is_dir():
            reason = "not a folder" if base.exists() else "not there"
            raise UserError(f"{SETTING}.path: {self.path} is {reason}; give a folder with {self.a} and {self.b} in it")
        names = [child.name for child in image_file.folders(base)]
        joined = {name.removesuffix(self.a): name for name in names if name.endswith(self.a) and name != self.a}
        parts = {part: (base / name / self.a, base / name / self.b) for name, part in folders_of_parts(names).items()}
        parts |= {part: (base / joined[name], base / f"{name}{self.b}")
                  for name, part in folders_of_parts(joined).items()}
        for pair in (parts := parts or {"train": (base / self.a, base / self.b)}).values():
            for folder in pair:
                if not folder.is_dir():
                    listed = ", ".join(names) or "no folders"
                    raise UserError(f"{SETTING}: there is no folder {folder}; {self.path} has {listed}. Make one of "
                                    f"images to learn from, {self.a}, and one of what is to be made of them, {self.b}")
        return parts


def _images(folder: Path, other: Path) -> dict[str, Path]:
    """Return the images of a folder and those below, by their place in it without ending. Raises UserError where there
    are none, or two of a name."""
    images: dict[str, Path] = {}
    for path in image_file.images(folder, below=True):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in images:
            raise UserError(f"{SETTING}: {images[name]} and {path} have one name; rename one of them")
        images[name] = path
    if not images:
        raise UserError(f"{SETTING}: {folder} has {image_file.why_none(folder)}; both it and {other} must hold images "
                        f"({image_file.READ})")
    return images
