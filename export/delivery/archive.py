"""Zip files whose bytes depend on their contents alone."""
from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

#: The earliest moment that a zip file can name.
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_zip(target: Path | IO[bytes], members: Mapping[str, bytes], *, compress: bool = True) -> None:
    """Write `members` (name: contents), sorted by name, with fixed times and permissions.

    Args:
        target: a file to be written, or an open one that the archive is put behind.
        compress: deflate them; else they are stored as they are.
    """
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w" if isinstance(target, Path) else "a", kind, compresslevel=9) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = kind
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, members[name])
