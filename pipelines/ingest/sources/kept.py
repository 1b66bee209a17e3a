"""Annotations of large sets are read once, and not in every process: what was read is kept in a file."""
from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from etils import epy

from pipelines.ingest.index import Part
from pipelines.ingest.sources.annotated_images import Listed

with epy.lazy_imports():
    import numpy as np

#: Bytes of the files of annotations from which on what was read is kept.
LARGE = 32 * 2**20
#: Sets that are kept at once.
MOST = 8
#: A change of what is written changes this.
FORMAT = "1"
#: Images of each part, and the names of the classes.
Read: TypeAlias = tuple[dict[Part, Listed], list[str]]


def kept(files: Sequence[tuple[Part, str, int]], read: Callable[[], Read]) -> Read:
    """Return what `read` does, out of a file where the same files have been read before and are large.

    Args:
        files: of annotations: part, path and when each was changed.
    """
    sizes = [os.path.getsize(path) for _, path, _ in files]
    if sum(sizes) < LARGE:
        return read()
    digest = hashlib.sha256(f"{FORMAT} {[(part, os.path.abspath(path), time) for part, path, time in files]} {sizes}"
                            .encode()).hexdigest()
    path = folder() / f"{digest[:32]}.npz"
    if path.is_file():
        try:
            return _loaded(path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # damaged: it is read and written anew
            pass
    result = read()
    _save(path, result)
    return result


def folder() -> Path:
    """Return where what was read is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "litepress" / "annotations"


def _loaded(path: Path) -> Read:
    with np.load(path) as file:
        names = json.loads(bytes(file["names"]))
        parts = json.loads(bytes(file["parts"]))
        return {part: Listed(json.loads(bytes(file[f"{part}.paths"])), file[f"{part}.rows"], file[f"{part}.counts"],
                             file[f"{part}.sizes"]) for part in parts}, names


def _save(path: Path, result: Read) -> None:
    """Write what was read, whole or not at all; where there is no room for it, or no right to, it is read again."""
    parts, names = result
    arrays = {"names": _text(names), "parts": _text(list(parts))}
    for part, images in parts.items():
        arrays |= {f"{part}.paths": _text(images.paths), f"{part}.rows": images.rows, f"{part}.counts": images.counts,
                   f"{part}.sizes": images.sizes}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(file.name, path)
        for old in sorted(path.parent.glob("*.npz"), key=lambda one: one.stat().st_mtime)[:-MOST]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def _text(value: list[str]) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), "uint8")
