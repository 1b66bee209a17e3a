"""Images in IDX files, the format of MNIST and its successors, and Fashion-MNIST, which comes in it."""
from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part, select
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.tfds_source import TfdsSource

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What the files of each part begin with.
PREFIXES: dict[Part, tuple[str, ...]] = {
    "train": ("train",), "validation": ("validation", "val"), "test": ("t10k", "test")}
UNSIGNED_BYTES = 8


class Idx(Source, name="idx", shorthand="path"):
    """IDX files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…), packed with gzip or not.

    The format is described at http://yann.lecun.com/exdb/mnist.

    Args:
        path: the folder of the files.
        class_names: in the order of the labels; their numbers where not given.
    """

    path: str = Setting(min_length=1)
    class_names: list[str] | None = Setting(None, min_length=2)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.class_names).encode())
        for part in self.parts():
            for path in self.files(part):
                status = path.stat()
                digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def parts(self) -> list[Part]:
        parts: list[Part] = [part for part in PREFIXES if self._find(part, "images")]
        if "train" not in parts:
            raise UserError(f"data.source.idx.path: {self.path} has no train-images-idx3-ubyte, with or without .gz")
        return parts

    def files(self, part: Part) -> tuple[Path, Path]:
        """Return the files of a part's images and of their labels. Raises UserError where one is missing."""
        images, labels = self._find(part, "images"), self._find(part, "labels")
        if images is None or labels is None:
            raise UserError(f"data.source.idx.path: {self.path} lacks the {part} {'labels' if images else 'images'}")
        return images, labels

    def fields(self) -> dict[str, Field]:
        names = self.class_names
        if names is None:
            highest = int(read_idx(self.files("train")[1]).max(initial=1))
            names = [str(label) for label in range(highest + 1)]
        return {"image": Field(kind="bytes"), "label": Field(kind="class", names=names)}

    def size(self, part: Part) -> int | None:
        return len(read_idx(self.files(part)[1]))

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the examples of a part, images as PNG; an example's id is train#0 and so on."""
        images, labels = (read_idx(path) for path in self.files(part))
        if images.ndim not in (3, 4) or labels.ndim != 1 or len(images) != len(labels):
            raise UserError(f"data.source.idx.path: the {part} files of {self.path} do not belong together: "
                            f"images {images.shape}, labels {labels.shape}")
        channelled = images.reshape(*images.shape[:3], -1)
        pairs = tf.data.Dataset.from_tensor_slices((channelled, labels.astype("int64"))).enumerate()
        return select(pairs, positions).map(lambda position, pair: {
            "image": tf.io.encode_png(pair[0], compression=0), "label": pair[1],
            "id": tf.strings.join([f"{part}#", tf.strings.as_string(position)])},
            num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _find(self, part: Part, what: str) -> Path | None:
        folder = Path(self.path)
        if not folder.is_dir():
            raise UserError(f"data.source.idx.path: {self.path} is not a folder; give the one with "
                            "train-images-idx3-ubyte in it")
        return next((path for prefix in PREFIXES[part] for path in sorted(folder.glob(f"{prefix}-{what}*idx*"))), None)


class FashionMnist(Source, name="fashion_mnist", shorthand="path"):
    """Zalando's 70,000 images of clothes in 10 classes, from IDX files if they are there, else from TFDS.

    Xiao et al. 2017, https://arxiv.org/abs/1708.07747.

    Args:
        path: the folder of the IDX files; where Debian's package dataset-fashion-mnist puts them, by default.
    """

    path: str = "/usr/share/datasets/fashion-mnist"

    @property
    def origin(self) -> Source:
        """Return the source of the images. Raises UserError where `path` is given and is not a folder."""
        if os.path.isdir(self.path):
            return Idx(path=self.path, class_names=["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
                                                    "Shirt", "Sneaker", "Bag", "Ankle boot"])
        if self.path != type(self).model_fields["path"].default:
            raise UserError(f"data.source.fashion_mnist.path: {self.path} is not a folder; give the one with the IDX "
                            "files, or leave it out")
        return TfdsSource(name="fashion_mnist")

    def fingerprint(self) -> str:
        return self.origin.fingerprint()

    def prepare(self) -> None:
        origin = self.origin
        try:
            origin.prepare()
        except UserError as error:
            raise UserError(f"{error} Or: apt install dataset-fashion-mnist") from error

    def ready(self) -> bool:
        return self.origin.ready()

    def fields(self) -> dict[str, Field]:
        return self.origin.fields()

    def parts(self) -> list[Part]:
        return self.origin.parts()

    def size(self, part: Part) -> int | None:
        return self.origin.size(part)

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        return self.origin.examples(part, positions)


def read_idx(path: Path) -> np.ndarray:
    """Return the unsigned bytes of an IDX file, in its shape. Raises UserError where it is not one."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"data.source: {path} cannot be read: {error}") from error
    dimensions = content[3] if content[:3] == bytes([0, 0, UNSIGNED_BYTES]) and len(content) > 3 else 0
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(content[start:start + 4], "big") for start in range(4, header, 4)]
    if not dimensions or len(content) != header + math.prod(shape):
        raise UserError(f"data.source: {path} is not an IDX file of unsigned bytes, or not all of one")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
