"""Files and folders that are there whole, or not at all."""
from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`, for a file or a folder; what is written there is renamed to `target` at the end,
    unless an error came.

    Raises:
        OSError: the target is there already, as a folder that is not empty, or its parent cannot be written to.
    """
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as scratch:
        beside = Path(scratch) / target.name
        yield beside
        beside.rename(target)
