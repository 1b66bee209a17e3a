"""Zip files whose bytes depend on their contents alone."""
from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

#: The earliest moment that a zip file can name.
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Writes `members` (name: contents), sorted by name, with fixed times and permissions."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, members[name])
