"""An array that stays in its .npy or .npz file: rows are read when they are asked for."""
from __future__ import annotations

import dataclasses
import math
import struct
import zipfile
from typing import Any

from etils import epy

from pipelines.ingest.sources import npz

with epy.lazy_imports():
    import numpy as np

#: What stands before a member of a zip file: its size, and where in it the lengths of the name and of the extra field.
ZIP_HEADER, ZIP_LENGTHS = 30, slice(26, 30)


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """An array in a file, of which nothing is kept.

    Args:
        path: of the file.
        dtype, shape: of the array.
        offset: where its numbers begin.
    """

    path: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        # mapped anew each time: pages of a map that stays count as memory
        return np.array(np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[rows])

    def with_channel(self) -> StoredArray:
        """Return the array with a last axis of one more."""
        return dataclasses.replace(self, shape=(*self.shape, 1))


def find(path: str, name: str) -> StoredArray | None:
    """Return an array of a file, as `npz.array` calls it; None where it can be read whole only: it is packed, empty, or
    not written row by row."""
    with open(path, "rb") as file:
        if path.endswith(".npy"):
            return _at(path, file) if name == npz.ALONE else None
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        file.seek(member.header_offset)
        lengths = struct.unpack("<HH", file.read(ZIP_HEADER)[ZIP_LENGTHS])
        file.seek(sum(lengths), 1)
        return _at(path, file)


def _at(path: str, file: Any) -> StoredArray | None:
    """Return the array whose header begins where a file stands."""
    header = npz.read_header(file)
    if header.by_columns or header.dtype.hasobject or not math.prod(header.shape):
        return None
    return StoredArray(path, header.dtype, header.shape, file.tell())
