"""What came of a recipe's variants."""
from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel

VARIANTS = "compress.json"


class VariantRecord(BaseModel):
    """A variant that was made.

    Args:
        name: of its file, without .tflite.
        encoding: one of `export.encodings.ENCODINGS`.
        summary: what it is, in a line.
        integer: whether every tensor of it is an integer, input and output included.
        bytes: of the file.
        zipped: of the file in a zip archive.
        details: what else there is to know: rungs that were tried, the sparsity that was reached.
    """

    name: str
    encoding: str
    summary: str
    integer: bool
    bytes: int
    zipped: int
    details: dict[str, Any] = {}


def layers_file(name: str) -> str:
    """Return the name of the file with the errors of a variant's operators, see `export.tflite.explain`."""
    return f"{name}.layers.json"


class VariantList(BaseModel):
    """What came of a recipe's variants: those that were made, and for each other one why it was not."""

    variants: list[VariantRecord]
    failed: dict[str, str] = {}

    @classmethod
    def read(cls, folder: Path) -> VariantList:
        """Return what compress left in a folder."""
        return cls.model_validate_json((folder / VARIANTS).read_bytes())


def zipped_size(content: bytes) -> int:
    """Return the bytes that a file takes in a zip archive, its entry aside."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    compressed = packer.compress(content)
    return len(compressed) + len(packer.flush())
