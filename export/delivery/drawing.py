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
from export.tflite.signatures import FileSignature

TEMPLATES, BY_TEXT = snippets.TEMPLATES / "generator", snippets.TEMPLATES / "generator_by_text"
#: The driver in Python, and what it imports.
DRIVER, BESIDE = "draw.py", ("noise.py", "diffusion.py", "sampling.py")
#: What says how pictures are made, in the bundle: the table of the sampler among it.
SAMPLER = "sampler.json"
#: What says how a text is cut that is asked for.
TOKENIZER = "tokenizer.json"
#: The kind of those whose pictures take several signatures.
IN_PARTS = "latent_diffusion"
#: Those signatures, each with one output: how what asks them is called in Kotlin and Swift, and what it takes.
FUNCTIONS = {"encode_text": ("encodeText", ("tokens",)), "denoise": ("denoise", ("noise", "step", "condition")),
             "decode": ("decode", ("noise",))}
#: The first number of a token that is of the text: behind what fills up and what is unknown, and behind its two ends.
FIRST, FIRST_BEHIND_ENDS = 2, 4
#: The modules as the package names them; in a bundle they lie beside each other.
PACKAGE = "from export.writing."
#: The kind of model whose pictures are made of codes that are drawn one after the other; only Python draws them.
CODES = "codes"


def write(folder: Path, about: Description, exported: Sequence[Exported], recommended: Mapping[str, str],
          source: Path) -> None:
    """Write a driver in Python, and in Kotlin and Swift for the file that phones' CPUs take; codes have the one in
    Python alone. Nothing where the bundle does not say how pictures are made.

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
    content = (source / one.path).read_bytes()
    if sampler["kind"] == IN_PARTS:
        said = json.loads((folder.parent / TOKENIZER).read_text(encoding="utf-8"))
        path = Path(one.path)
        values = {"parts": parts(content, about), "file": path.name, "stem": path.stem,
                  "folder": path.parent.as_posix(), "first": FIRST_BEHIND_ENDS if said["ends"] else FIRST}
        _write_classes(folder, BY_TEXT, about, sampler, values)
    elif sampler["kind"] != CODES:
        values = snippets.values_of(signatures.main(content), about)
        _write_classes(folder, TEMPLATES, about, sampler, values | {"model": snippets.class_name(about.name, "Model")})
    python = folder / "python"
    python.mkdir(parents=True, exist_ok=True)
    shutil.copy(TEMPLATES / DRIVER, python)
    for name in BESIDE:
        code = (Path(writing.__path__[0]) / name).read_text(encoding="utf-8")
        (python / name).write_text(code.replace(PACKAGE, "from "), encoding="utf-8")


def asked_by_text(content: bytes) -> dict[str, FileSignature]:
    """Return the signatures that a file by text is asked by, by name. Raises ValueError where it has others."""
    known = signatures.of(content)
    for name, (_, taken) in FUNCTIONS.items():
        if name not in known or set(known[name].inputs) != set(taken) or len(known[name].outputs) != 1:
            raise ValueError(f"a file that makes pictures by text has the signatures {', '.join(FUNCTIONS)}, and "
                             f"{name} takes {', '.join(taken)} and gives one tensor; this one has {', '.join(known)}")
    return {name: known[name] for name in FUNCTIONS}


def parts(content: bytes, about: Description) -> dict[str, dict[str, Any]]:
    """Return what asks those signatures, by their names: what it is called, its inputs and its output."""
    result = {}
    for name, signature in asked_by_text(content).items():
        (function, taken), values = FUNCTIONS[name], snippets.values_of(signature, about)
        inputs = {one.name: one for one in values["inputs"]}
        result[name] = {"function": function, "inputs": [inputs[one] for one in taken], "output": values["outputs"][0]}
    return result


def _write_classes(folder: Path, templates: Path, about: Description, sampler: Mapping[str, Any],
                   values: Mapping[str, Any]) -> None:
    """Write what asks a file in Kotlin and Swift."""
    for template in sorted(templates.glob("*.j2")):
        stem, ending = template.name.removesuffix(".j2").split(".")
        name = snippets.class_name(about.name, stem)
        snippets.write_code(folder / snippets.LANGUAGES[ending] / f"{name}.{ending}", template,
                            {"class_name": name, "about": about, "sampler": sampler, **values})
    for ending, language in snippets.LANGUAGES.items():
        shutil.copy(TEMPLATES / f"Noise.{ending}", folder / language)
        shutil.copy(TEMPLATES / f"Sampler.{ending}", folder / language)
