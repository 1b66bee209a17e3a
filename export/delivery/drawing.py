"""The code of a bundle that makes pictures out of noise: the noise of a seed, the sampler, and what asks the model."""
from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export import writing
from export.artifacts import Exported
from export.delivery import snippets
from export.tflite import signatures
from export.tflite.metadata import Description

TEMPLATES = snippets.TEMPLATES / "generator"
#: The driver in Python, and what it imports.
DRIVER, BESIDE = "draw.py", ("noise.py", "diffusion.py", "sampling.py")
#: What says how pictures are made, in the bundle: the table of the sampler among it.
SAMPLER = "sampler.json"
#: The kind of those whose pictures take several signatures.
IN_PARTS = "latent_diffusion"
#: The modules as the package names them; in a bundle they lie beside each other.
PACKAGE = "from export.writing."
#: The kind of model whose pictures are made of codes that are drawn one after the other; only Python draws them.
CODES = "codes"


def write(folder: Path, about: Description, exported: Sequence[Exported], recommended: Mapping[str, str],
          source: Path) -> None:
    """Write a driver in Python, and in Kotlin and Swift for the file that the class Model beside is for, which asks its
    usual signature alone: codes, and files of several parts, have the one in Python. Nothing where the bundle does not
    say how pictures are made.

    Args:
        folder: of the code, in a bundle.
        about: what the model says of itself.
        exported: the artifacts, their paths relative to `source`.
        recommended: kind of device to the name of the artifact to take there.
    """
    one = next((one for one in snippets.chosen(about, exported, recommended) if one.target == "litert"), None)
    if one is None or not (folder.parent / SAMPLER).exists():
        return
    sampler = json.loads((folder.parent / SAMPLER).read_text())
    if sampler["kind"] not in (CODES, IN_PARTS):
        _write_classes(folder, about, sampler, (source / one.path).read_bytes())
    python = folder / "python"
    python.mkdir(parents=True, exist_ok=True)
    shutil.copy(TEMPLATES / DRIVER, python)
    for name in BESIDE:
        code = (Path(writing.__path__[0]) / name).read_text(encoding="utf-8")
        (python / name).write_text(code.replace(PACKAGE, "from "), encoding="utf-8")


def _write_classes(folder: Path, about: Description, sampler: Mapping[str, Any], content: bytes) -> None:
    """Write what asks a file in Kotlin and Swift."""
    values = snippets.values_of(signatures.main(content), about)
    values |= {"sampler": sampler, "model": snippets.class_name(about.name, "Model")}
    for template in sorted(TEMPLATES.glob("*.j2")):
        stem, ending = template.name.removesuffix(".j2").split(".")
        name = snippets.class_name(about.name, stem)
        snippets.write_code(folder / snippets.LANGUAGES[ending] / f"{name}.{ending}", template,
                            {"class_name": name, **values})
    for ending, language in snippets.LANGUAGES.items():
        shutil.copy(TEMPLATES / f"Noise.{ending}", folder / language)
        shutil.copy(TEMPLATES / f"Sampler.{ending}", folder / language)
