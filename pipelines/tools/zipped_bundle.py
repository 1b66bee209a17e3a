"""Bundles in their zip files."""
from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from export.delivery.manifest import NAME
from pipelines.errors import UserError

ENDING = ".zip"


def unpacked(path: Path, folder: Path) -> Path:
    """Unpack a bundle's zip file into a folder; return the bundle's own folder in it. Raises UserError."""
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path}: it cannot be unpacked ({error}); make it again, or fetch it again") from error
    listed = next(iter(sorted(folder.glob(f"*/{NAME}"))), folder / NAME)
    if not listed.is_file():
        raise UserError(f"{path}: it holds no bundle, which has a file {NAME}")
    return listed.parent


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Give the folder that a path stands for: itself, or that of a bundle's zip file, unpacked for the while. Raises
    UserError."""
    if path.suffix.lower() != ENDING:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield unpacked(path, Path(folder))
