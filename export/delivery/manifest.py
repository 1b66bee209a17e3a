"""The manifest of a bundle: what is in it, for which device, and which runtime it wants. It is what gets signed."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from export.artifacts import Exported
from export.tflite import file as tflite_file

NAME, SIGNATURE = "manifest.json", "manifest.sig"


class File(BaseModel):
    """A file of a bundle, by its path in it."""

    path: str
    bytes: int
    sha256: str


class Model(BaseModel):
    """A model of a bundle.

    Args:
        path: of the file or folder in the bundle.
        minimum_runtime: the earliest TensorFlow Lite version that runs it, where the file says so.
    """

    name: str
    target: str
    variant: str
    path: str
    minimum_runtime: str = ""


class Manifest(BaseModel):
    """What a bundle holds.

    Args:
        version: major.minor.patch.
        rollback: the version that an app falls back to, if one is named.
        recommended: kind of device (phone_cpu, phone_gpu, npu) to the name of the model to take there.
        files: all files but this one and its signature.
    """

    format: int = 1
    name: str
    version: str
    rollback: str | None = None
    recommended: dict[str, str] = {}
    models: list[Model]
    files: list[File]

    def text(self) -> str:
        """Return it as it is written, and signed."""
        return self.model_dump_json(indent=1) + "\n"


def create(folder: Path, name: str, version: str, exported: Sequence[Exported], recommended: Mapping[str, str],
           rollback: str | None = None) -> Manifest:
    """Return the manifest of a folder that holds everything else of a bundle already."""
    files = [File(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=sha256(path))
             for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (NAME, SIGNATURE)]
    models = [Model(name=one.name, target=one.target, variant=one.variant, path=one.path,
                    minimum_runtime=_runtime(folder / one.path)) for one in exported]
    return Manifest(name=name, version=version, rollback=rollback, recommended=dict(recommended), models=models,
                    files=files)


def sha256(path: Path) -> str:
    """Return the digest of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _runtime(path: Path) -> str:
    return tflite_file.minimum_runtime(path.read_bytes()) if path.suffix == ".tflite" else ""
