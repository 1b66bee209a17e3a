"""What sources of the user's own images with boxes have in common."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from etils import epy

from pipelines.errors import UserError
from pipelines.features.boxes import COLUMNS
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What a part may be called, in names of files and folders.
PARTS: dict[str, Part] = {"train": "train", "training": "train", "trainval": "train", "val": "validation",
                          "valid": "validation", "validation": "validation", "test": "test", "testing": "test"}


class Annotated(NamedTuple):
    """An image and what is in it.

    Args:
        path: of its file.
        boxes: rows of six numbers, see `features.boxes`.
    """

    path: str
    boxes: list[tuple[float, float, float, float, float, float]]


class AnnotatedImages(Source):
    """Images with boxes; an example's id is its path."""

    def annotated(self) -> Mapping[Part, Sequence[Annotated]]:
        """Return the images of each part, in a fixed order. Raises UserError where something cannot be read."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """Return the classes, in the order of their numbers."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.model_dump()} {self.names()}".encode())
        for part, images in self.annotated().items():
            for image in images:
                status = os.stat(image.path) if os.path.isfile(image.path) else None
                written = f"{status.st_size} {status.st_mtime_ns}" if status else "not there"
                digest.update(f"{part} {image.path} {image.boxes} {written}\n".encode())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Raise UserError where no image of a part is there, or one is in two parts; single ones that are not there
        count as unreadable."""
        owners: dict[str, Part] = {}
        for part, images in self.annotated().items():
            missing = [image for image in images if not os.path.isfile(image.path)]
            if images and len(missing) == len(images):
                raise UserError(f"data.source.{self.entry_name}: none of the {len(images):,} {part} images is there, "
                                f"the first would be {missing[0].path}; look where they are, and at the path")
            for image in images:
                if owners.setdefault(image.path, part) != part:
                    raise UserError(f"data.source.{self.entry_name}: {image.path} is in {owners[image.path]} and in "
                                    f"{part}; what is tested on must not be learnt")

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes"), "boxes": Field(kind="boxes", names=self.names())}

    def parts(self) -> list[Part]:
        known = self.annotated()
        if "train" not in known:
            raise UserError(f"data.source.{self.entry_name}: it has {' and '.join(known) or 'no images'}, and no part "
                            "to train on")
        return [part for part in ("train", "validation", "test") if part in known]

    def size(self, part: Part) -> int | None:
        return len(self.annotated()[part])

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        images = self.annotated()[part]
        chosen = images if positions is None else [images[position] for position in positions]
        rows = np.array([row for image in chosen for row in image.boxes], "float32").reshape(-1, COLUMNS)
        counts = np.array([len(image.boxes) for image in chosen], "int64")
        all_rows = tf.constant(rows)
        listed = tf.data.Dataset.from_tensor_slices((
            tf.constant([image.path for image in chosen], tf.string), np.cumsum(counts) - counts, counts))

        def example(path: tf.Tensor, start: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"image": _read(path), "boxes": all_rows[start:start + count], "id": path}

        return listed.map(example, num_parallel_calls=tf.data.AUTOTUNE)


def part_of(name: str) -> Part | None:
    """Return the part that a name stands for, such as train, val2017 or instances_valid; None where it names none."""
    words = "".join(letter if letter.isalpha() else " " for letter in name.lower()).split()
    return next((PARTS[word] for word in reversed(words) if word in PARTS), None)


def _read(path: tf.Tensor) -> tf.Tensor:
    """Return a file's bytes; none where it is not there, which counts as unreadable."""
    def content(name: bytes) -> bytes:
        try:
            with open(name, "rb") as file:
                return file.read()
        except OSError:
            return b""

    result = tf.numpy_function(content, [path], tf.string, stateful=False)
    return tf.ensure_shape(result, [])
