"""The code of a bundle that asks the shortest signature that a text fits into."""
from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from export.artifacts import Exported
from export.delivery import snippets
from export.predictors.bucketed import UP_TO, lengths
from export.signature import DEFAULT
from export.tflite import signatures
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature

TEMPLATES = snippets.TEMPLATES / "buckets"
#: The code in Python, which imports the tokenizer beside it.
DRIVER = "buckets.py"


class Bucket(NamedTuple):
    """A signature, the tokens that it takes, and how what it gives is stored: as value / scale + zero, or as it is
    where the scale is 0."""

    signature: str
    length: int
    scale: float
    zero: int
    unsigned: bool


def write(folder: Path, about: Description, exported: Sequence[Exported], source: Path) -> None:
    """Write Kotlin, Swift and Python for the first file of the target litert that has buckets; nothing where there is
    none.

    Args:
        folder: of the code, in a bundle.
        about: what the model says of itself.
        exported: the artifacts, their paths relative to `source`.
    """
    for one in exported:
        if one.target == "litert" and one.is_tflite:
            known = signatures.of((source / one.path).read_bytes())
            if lengths(known):
                _write(folder, about, Path(one.path), [known[DEFAULT], *(
                    signature for name, signature in known.items() if name.startswith(UP_TO))])
                return


def _write(folder: Path, about: Description, path: Path, known: Sequence[FileSignature]) -> None:
    buckets = sorted((_bucket(one) for one in known), key=lambda bucket: bucket.length)
    values = {"about": about, "labels": about.labels, "file": path.name, "stem": path.stem,
              "folder": path.parent.as_posix(), "buckets": buckets, "input": known[0].input.name,
              "output": known[0].output.name}
    for template in sorted(TEMPLATES.glob("*.j2")):
        stem, ending = template.name.removesuffix(".j2").split(".")
        name = snippets.class_name(about.name, stem)
        snippets.write_code(folder / snippets.LANGUAGES[ending] / f"{name}.{ending}", template,
                            {"class_name": name, **values})
    (folder / "python").mkdir(parents=True, exist_ok=True)
    shutil.copy(TEMPLATES / DRIVER, folder / "python" / DRIVER)


def _bucket(signature: FileSignature) -> Bucket:
    given = signature.output
    return Bucket(signature.name, signature.input.shape[1], given.scale, given.zero, given.dtype == "uint8")
