"""The code of a bundle that opens a file for LiteRT-LM in Google's engine."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.artifacts import Exported
from export.delivery import snippets
from export.tflite import signatures
from export.tflite.chunked import DECODE, ENDING, KEYS
from export.tflite.metadata import Description

TEMPLATES = snippets.TEMPLATES / "litert_lm"


def write(folder: Path, about: Description, exported: Sequence[Exported], source: Path) -> None:
    """Write Kotlin and Swift for the first such file; nothing where there is none.

    Args:
        folder: of the code, in a bundle.
        about: what the model says of itself.
        exported: the artifacts, their paths relative to `source`.
    """
    path = next((Path(one.path) for one in exported if one.path.endswith(ENDING)), None)
    if path is None:
        return
    caches = signatures.of((source / path).with_suffix(".tflite").read_bytes())[DECODE].inputs
    values = {"about": about, "file": path.name, "folder": path.parent.as_posix(),
              "length": caches[f"{KEYS}0"].shape[2]}
    for template in sorted(TEMPLATES.glob("*.j2")):
        stem, ending = template.name.removesuffix(".j2").split(".")
        name = snippets.class_name(about.name, stem)
        snippets.write_code(folder / snippets.LANGUAGES[ending] / f"{name}.{ending}", template,
                            {"class_name": name, **values})
