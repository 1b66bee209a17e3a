"""The version folders of a model on disk: which there are, whether they are whole, and which of them a policy wants."""
from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: A folder is whole when nothing in it has changed for so long, in seconds.
SETTLED = 1.0


def numbered(base: Path) -> dict[int, Path]:
    """Return the version folders of a base path: those whose names are whole numbers. Raises OSError."""
    with os.scandir(base) as entries:
        return {int(entry.name): Path(entry.path) for entry in entries
                if entry.name.isascii() and entry.name.isdigit() and len(entry.name) <= 18 and entry.is_dir()}


def wanted(result: dict[int, Path], policy: Any) -> dict[int, Path]:
    """Return the versions that a policy serves.

    Args:
        policy: `ServableVersionPolicy` of file_system_storage_path_source.proto: latest N (one, where nothing is said),
            all, specific.
    """
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return result
    if kind == "specific":
        return {number: result[number] for number in policy.specific.versions if number in result}
    newest = sorted(result, reverse=True)[:policy.latest.num_versions or 1]
    return {number: result[number] for number in newest}


class Settling:
    """Tells folders that are still being written from whole ones, look by look."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[tuple, float]] = {}

    def whole(self, folder: Path) -> bool:
        """Return whether nothing in a folder has changed for `SETTLED` seconds: by its files' times, or since an
        earlier look."""
        look = fingerprint(folder)
        before = self._seen.get(folder)
        if before is None or before[0] != look:
            self._seen[folder] = before = (look, time.monotonic())
        newest = max((changed for _, _, changed in look), default=0) / 1e9
        return 0 <= newest <= time.time() - SETTLED or time.monotonic() - before[1] >= SETTLED

    def keep(self, folders: Iterable[Path]) -> None:
        """Forget all other folders."""
        kept = set(folders)
        self._seen = {folder: seen for folder, seen in self._seen.items() if folder in kept}


def fingerprint(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change, in nanoseconds, of everything in a folder, itself too; empty where it is gone."""
    result = []
    for root, _, files in os.walk(folder):
        for path in (root, *(os.path.join(root, name) for name in files)):
            try:
                status = os.stat(path)
            except OSError:
                continue
            result.append((os.path.relpath(path, folder), 0 if path == root else status.st_size, status.st_mtime_ns))
    return tuple(sorted(result))
