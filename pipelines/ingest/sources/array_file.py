"""Pictures in NumPy files."""
from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import Field

from pipelines.errors import UserError
from pipelines.ingest.sources.source import Part, Source, select

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What the pictures and the labels of each part may be called in an .npz file.
NAMES: dict[Part, tuple[tuple[str, str], ...]] = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("x", "y")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels"))}
#: The class of pictures without labels.
UNLABELLED = "unlabelled"


class Arrays(Source, name="arrays", shorthand="path"):
    """A .npz file with pictures and labels (x_train, y_train, x_test, y_test; images, labels; or x, y), or a .npy file with pictures alone.

    Pictures are uint8 (examples, height, width) or (examples, height, width, channels), raw pixels 0..255; labels are whole numbers from
    0, or one-hot.

    Args:
        path: the file.
        class_names: in the order of the labels; their numbers where not given.
    """

    path: str = Field(min_length=1)
    class_names: list[str] | None = Field(None, min_length=2)

    def fingerprint(self) -> str:
        if not Path(self.path).is_file():
            raise UserError(f"data.source.arrays.path: there is no file {self.path}")
        status = Path(self.path).stat()
        return hashlib.sha256(f"{self.path} {status.st_size} {status.st_mtime_ns} {self.class_names}".encode()).hexdigest()

    def parts(self) -> list[Part]:
        return [part for part in NAMES if self._keys(part) is not None]

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        keys = self._keys("train")
        return keys is not None and keys[1] is not None

    def classes(self) -> list[str]:
        if not self.labelled:
            return [UNLABELLED]
        return self.class_names or [str(label) for label in range(int(self._labels("train").max(initial=0)) + 1)]

    def size(self, part: Part) -> int | None:
        return len(self._pictures(part))

    def raw(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        pictures, labels = self._pictures(part), self._labels(part)
        if len(pictures) != len(labels):
            raise UserError(f"data: {self.path} has {len(pictures):,} pictures of the {part} part and {len(labels):,} labels")
        pairs = tf.data.Dataset.from_tensor_slices((pictures, labels)).enumerate()
        return select(pairs, positions).map(lambda place, pair: (
            tf.io.encode_png(pair[0], compression=0), pair[1], tf.strings.join([f"{part}#", tf.strings.as_string(place)])),
            num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _open(self) -> dict[str, np.ndarray]:
        try:
            loaded = np.load(self.path, allow_pickle=False, mmap_mode="r" if self.path.endswith(".npy") else None)
            return {"x": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        except FileNotFoundError:
            raise UserError(f"data: there is no file {self.path}") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"data: {self.path} is no NumPy file of plain arrays that can be read ({str(error).splitlines()[0]})") from None

    def _keys(self, part: Part) -> tuple[str, str | None] | None:
        known = set(self._open())
        for pictures, labels in NAMES[part]:
            if pictures in known:
                return pictures, labels if labels in known else None
        if part == "train":
            raise UserError(f"data: {self.path} has no pictures; it has {', '.join(sorted(known)) or 'nothing'}. Call them x_train and "
                            "y_train, images and labels, or x and y")
        return None

    def _pictures(self, part: Part) -> np.ndarray:
        keys = self._keys(part)
        assert keys is not None
        pictures = self._open()[keys[0]]
        if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[-1] not in (1, 3, 4)):
            raise UserError(f"data: {keys[0]} in {self.path} has the shape {pictures.shape}; give pictures (examples, height, width), or "
                            "(examples, height, width, 1 or 3 channels)")
        if not len(pictures):
            raise UserError(f"data: {keys[0]} in {self.path} is empty; give at least one picture")
        if pictures.dtype != np.uint8:
            low, high = float(np.min(pictures)), float(np.max(pictures))
            whole = np.issubdtype(pictures.dtype, np.integer) or bool(np.all(pictures == np.round(pictures)))
            if not whole or low < 0 or high > 255:
                raise UserError(f"data: {keys[0]} in {self.path} holds values from {low:g} to {high:g}; give raw pixels, whole numbers "
                                "0..255, and say with --pixels what the model wants")
            pictures = pictures.astype(np.uint8)
        return pictures if pictures.ndim == 4 else pictures[..., None]

    def _labels(self, part: Part) -> np.ndarray:
        keys = self._keys(part)
        assert keys is not None
        if keys[1] is None:
            return np.zeros(len(self._pictures(part)), "int64")
        labels = self._open()[keys[1]]
        if not len(labels):
            raise UserError(f"data: {keys[1]} in {self.path} is empty; give at least one picture with its label")
        if labels.ndim == 2 and labels.shape[1] > 1:
            labels = labels.argmax(axis=1)
        labels = labels.reshape(len(labels), -1)
        if labels.shape[1] != 1 or not np.all(labels == np.round(labels)):
            raise UserError(f"data: {keys[1]} in {self.path} has the shape {labels.shape} and type {labels.dtype}; give one whole number "
                            "per picture, or one-hot rows")
        return labels[:, 0].astype("int64")
