"""The code of a bundle that goes on with texts by a file for LiteRT-LM, without the engine."""
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export import writing
from export.artifacts import Exported
from export.delivery import snippets
from export.tflite import signatures
from export.tflite.chunked import DECODE, PLACES, PREFILL, TOKENS, is_chunked
from export.tflite.metadata import Description

TEMPLATES = snippets.TEMPLATES / "language_model"
#: The driver in Python, and what it imports beside the tokenizer.
DRIVER, BESIDE = "generate.py", ("sampling.py", "beam.py")
#: What says how text is cut, in the bundle.
TOKENIZER = "tokenizer.json"
#: The tokens that stand for no text: what fills up, what is unknown, and what stands before a text; and what ends one.
NEVER, END = (0, 1, 2), 3
#: Where a text has no end.
NO_END = -1
#: How the target is called whose files are asked.
LITERT_LM = "litert_lm"


def write(folder: Path, about: Description, exported: Sequence[Exported], source: Path) -> None:
    """Write the code for the first file for LiteRT-LM: a driver in Python, one in Kotlin and one in Swift. Nothing
    where there is none, or where it is not known how text is cut.

    Args:
        folder: of the code, in a bundle with tokenizer.json.
        about: what the model says of itself.
        exported: the artifacts, their paths relative to `source`.
    """
    paths = (Path(one.path).with_suffix(".tflite") for one in exported if one.target == LITERT_LM)
    path = next((path for path in paths if (source / path).exists()), None)
    if path is None or not (folder.parent / TOKENIZER).exists():
        return
    said = json.loads((folder.parent / TOKENIZER).read_text(encoding="utf-8"))
    values = {"about": about, "file": path.name, "stem": path.stem, "folder": path.parent.as_posix(),
              "kind": said["kind"], **_of_file((source / path).read_bytes()),
              "end": NO_END if said["end"] is None else said["end"],
              "never": NEVER if said["end"] is not None else (*NEVER, END)}
    for template in sorted(TEMPLATES.glob("*.j2")):
        stem, ending = template.name.removesuffix(".j2").split(".")
        name = snippets.class_name(about.name, stem)
        snippets.write_code(folder / snippets.LANGUAGES[ending] / f"{name}.{ending}", template,
                            {"class_name": name, **values})
    for language, files in {"python": [TEMPLATES / DRIVER, *(Path(writing.__path__[0]) / one for one in BESIDE)],
                            **{language: [TEMPLATES / f"Sampling.{ending}"]
                               for ending, language in snippets.LANGUAGES.items()}}.items():
        (folder / language).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, folder / language / file.name)


def _of_file(content: bytes) -> dict[str, Any]:
    """Return what the code must know of a file: how many tokens it takes, and its caches. Raises ValueError where it
    does not read some tokens a call."""
    known = signatures.of(content)
    if not is_chunked(known):
        raise ValueError(f"a file for LiteRT-LM has the signatures {', '.join(known)}; it must have {DECODE} and "
                         f"{PREFILL}8 or another length")
    caches = {name: info.shape for name, info in known[DECODE].inputs.items() if name not in (TOKENS, PLACES)}
    _, heads, length, width = next(iter(caches.values()))
    prefills = [int(match[1]) for name in known if (match := re.fullmatch(rf"{PREFILL}(\d+)", name))]
    return {"caches": list(caches), "cache": heads * length * width, "length": length,
            "prefills": sorted(prefills, reverse=True)}
