"""What sources of the user's own images with boxes have in common."""
from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epy

from pipelines.errors import UserError
from pipelines.features.boxes import COLUMNS, CROWD, GIVEN_POINT, Boxes, faults, turned
from pipelines.features.feature import Feature, Field
from pipelines.features.image import lies_as_stored, turned_by
from pipelines.ingest.index import Part
from pipelines.ingest.sources.source import LookedAt, Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Height and width of an image whose annotations do not say them.
UNKNOWN = (0.0, 0.0)


class Annotated(NamedTuple):
    """An image and what is in it.

    Args:
        path: of its file.
        boxes: rows of six numbers, and three for each key point, see `features.boxes`.
        size: height and width in pixels that the annotations say; 0 where they do not.
    """

    path: str
    boxes: Sequence[Sequence[float]] | np.ndarray
    size: tuple[float, float] = UNKNOWN


@dataclasses.dataclass(frozen=True)
class Listed:
    """Images and what is in them, some 40 bytes for each box.

    Args:
        paths: of the files.
        rows: boxes of one image after the other, (boxes, 6 or more), see `features.boxes`.
        counts: boxes of each image, (images,).
        sizes: height and width of each image as annotations say them, (images, 2).
    """

    paths: list[str]
    rows: np.ndarray
    counts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, images: Iterable[Annotated], points: int = 0) -> Listed:
        """Return images that are read one by one.

        Args:
            points: key points of each box.
        """
        known = list(images)
        rows = np.array([row for image in known for row in image.boxes], float).reshape(
            -1, COLUMNS + GIVEN_POINT * points)
        return cls([image.path for image in known], rows, np.array([len(image.boxes) for image in known], "int64"),
                   np.array([image.size for image in known], float).reshape(-1, 2))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Annotated]:
        for path, rows, size in zip(self.paths, np.split(self.rows, self.starts[1:]), self.sizes, strict=True):
            yield Annotated(path, rows, (float(size[0]), float(size[1])))

    @property
    def starts(self) -> np.ndarray:
        """Return where the boxes of each image begin, (images,)."""
        return np.cumsum(self.counts) - self.counts

    def boxes(self, positions: Sequence[int]) -> np.ndarray:
        """Return the boxes of some images, (boxes, 6 or more)."""
        starts = self.starts
        parts = [self.rows[starts[one]:starts[one] + self.counts[one]] for one in positions]
        return np.concatenate([self.rows[:0], *parts])


class AnnotatedImages(Source):
    """Images with boxes; an example's id is its path.

    An image is shown as its EXIF says, and its boxes belong to what is shown; where the size that its annotations say
    is that of the image as it lies in its file, they belong to that, and are turned like the image.
    """

    def annotated(self) -> Mapping[Part, Listed]:
        """Return the images of each part, in a fixed order. Raises UserError where something cannot be read."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """Return the classes, in the order of their numbers."""
        raise NotImplementedError

    def point_names(self) -> list[str]:
        """Return the key points of each box; none where there are none."""
        return []

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.model_dump()} {self.names()} {self.point_names()}".encode())
        for part, images in self.annotated().items():
            for array in (images.rows, images.counts, images.sizes):
                digest.update(array.tobytes())
            for path in images.paths:
                status = os.stat(path) if os.path.isfile(path) else None
                written = f"{status.st_size} {status.st_mtime_ns}" if status else "not there"
                digest.update(f"{part} {path} {written}\n".encode())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Raise UserError where no image of a part is there, or one is in two parts; single ones that are not there
        count as unreadable."""
        owners: dict[str, Part] = {}
        for part, images in self.annotated().items():
            missing = [path for path in images.paths if not os.path.isfile(path)]
            if missing and len(missing) == len(images):
                raise UserError(f"data.source.{self.entry_name}: none of the {len(images):,} {part} images is there, "
                                f"the first would be {missing[0]}; look where they are, and at the path")
            for path in images.paths:
                if owners.setdefault(path, part) != part:
                    raise UserError(f"data.source.{self.entry_name}: {path} is in {owners[path]} and in {part}; what "
                                    "is tested on must not be learnt")

    def fields(self) -> dict[str, Field]:
        return {"image": Field(kind="bytes"), "boxes": Field(kind="boxes", names=self.names(),
                                                                      points=self.point_names() or None)}

    def parts(self) -> list[Part]:
        known = self.annotated()
        if "train" not in known:
            raise UserError(f"data.source.{self.entry_name}: it has {' and '.join(known) or 'no images'}, and no part "
                            "to train on")
        return [part for part in ("train", "validation", "test") if part in known]

    def size(self, part: Part) -> int | None:
        return len(self.annotated()[part])

    def looked_at(self, features: Mapping[str, Feature]) -> LookedAt:
        """Return how many boxes there are, and which cannot be."""
        boxes = next(feature for feature in features.values() if isinstance(feature, Boxes))
        kinds: collections.Counter[str] = collections.Counter()
        faulty, first, counted, crowds, examples, most = 0, "", 0, 0, 0, 0
        for images in self.annotated().values():
            found = faults(images.rows, len(self.names()))
            owners = np.repeat(np.arange(len(images)), images.counts)
            wrong = images.counts > boxes.most
            for kind, rows in found.items():
                kinds[kind] += int(rows.sum())
                wrong[owners[rows]] = True
            most += int((images.counts > boxes.most).sum())
            examples, faulty = examples + len(images), faulty + int(wrong.sum())
            counted, crowds = counted + len(images.rows), crowds + int((images.rows[:, CROWD] > 0).sum())
            first = first or next((images.paths[one] for one in np.flatnonzero(wrong)), "")
        said = {f"{count:,} {kind}": count for kind, count in kinds.items()}
        said |= {f"{crowds:,} of crowds": crowds,
                 f"more than {boxes.most} in {most:,} image{'' if most == 1 else 's'}": most}
        return LookedAt(f"{counted:,} boxes in {examples:,} images", [text for text, count in said.items() if count],
                        examples, faulty, first)

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        images = self.annotated()[part]
        chosen = list(range(len(images)) if positions is None else positions)
        counts = images.counts[chosen]
        all_rows = tf.constant(images.boxes(chosen), tf.float32)
        listed = tf.data.Dataset.from_tensor_slices((
            tf.constant([images.paths[one] for one in chosen], tf.string), np.cumsum(counts) - counts, counts,
            images.sizes[chosen]))

        def example(path: tf.Tensor, start: tf.Tensor, count: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
            content, rows = tf.numpy_function(_read, [path, all_rows[start:start + count], size],
                                              [tf.string, tf.float32], stateful=False)
            return {"image": tf.ensure_shape(content, []),
                    "boxes": tf.ensure_shape(rows, [None, all_rows.shape[1]]), "id": path}

        return listed.map(example, num_parallel_calls=tf.data.AUTOTUNE)


def _read(path: bytes, rows: np.ndarray, size: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return a file's bytes, none where it is not there, which counts as unreadable; and its boxes as shares of what is
    shown.

    Args:
        size: height and width that the annotations say, or 0.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return b"", rows
    if len(rows) and size[0] != size[1] and lies_as_stored(content, size[0], size[1]):
        rows = turned(rows, turned_by(content))
    return content, rows
