"""NumPy's .npz and .npy files: what is in them, without reading all of it."""
from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from etils import epy

from export.errors import first_line
from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np

#: What the array of a .npy file is called, as if it were one of several.
ALONE = "x"


class Header(NamedTuple):
    """What is known of an array without reading it.

    Args:
        by_columns: its numbers are written column by column.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    by_columns: bool = False

    @property
    def kind(self) -> str:
        """Return NumPy's letter for the kind of its numbers."""
        return self.dtype.kind

    @property
    def is_numeric(self) -> bool:
        return self.kind in "biuf"


def headers(path: str) -> dict[str, Header]:
    """Return the headers of all arrays in a file, by name. Raises UserError where it cannot be read."""
    with _opened(path) as file:
        if isinstance(file, dict):
            return {name: Header(array.shape, array.dtype) for name, array in file.items()}
        return {name: _header(file, name) for name in file.files}


def array(path: str, name: str) -> np.ndarray:
    """Return one array of a file. Raises UserError where it cannot be read."""
    with _opened(path) as file:
        return file[name]


@contextlib.contextmanager
def _opened(path: str) -> Iterator[np.lib.npyio.NpzFile | dict[str, np.ndarray]]:
    try:
        loaded = np.load(path, allow_pickle=False, mmap_mode="r" if path.endswith(".npy") else None)
        if isinstance(loaded, np.ndarray):
            yield {ALONE: loaded}
        else:
            with loaded:
                yield loaded
    except FileNotFoundError:
        raise UserError(f"data: there is no file {path}") from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise UserError(f"data: {path} has an array of Python objects; save words with .astype(str), and numbers "
                            "with their type") from None
        raise UserError(f"data: {path} is not a NumPy file of plain arrays that can be read "
                        f"({first_line(error)})") from None


def read_header(member: Any) -> Header:
    """Return what a .npy file says of itself; it stands where its numbers begin afterwards."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(member)
    return Header(shape, dtype, by_columns)


def _header(file: np.lib.npyio.NpzFile, name: str) -> Header:
    assert file.zip is not None
    with file.zip.open(f"{name}.npy") as member:
        return read_header(member)
