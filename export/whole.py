"""Files and folders that are there whole, or not at all."""
from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(target: Path, replace: bool = False) -> Iterator[Path]:
    """Give a path beside `target` for a file or a folder, and rename it to `target` at the end, unless an error came.

    Args:
        replace: what stands at `target` is replaced; otherwise a folder that is not empty is an error.

    Raises:
        OSError: the target is there already, or cannot be written to.
    """
    others = "" if replace else f"{os.getpid()}."  # who may be writing the same
    beside = target.with_name(f".part.{others}{target.name}")  # which keeps the ending: some writers go by it
    _remove(beside)
    try:
        yield beside
        if replace and target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        beside.rename(target)
    finally:
        _remove(beside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
