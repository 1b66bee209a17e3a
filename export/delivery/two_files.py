"""What a bundle says of a front end and the network behind it, and the code that asks one after the other."""
from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.artifacts import Exported
from export.delivery import snippets
from export.predictors import two_files
from export.tflite import signatures
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature

TEMPLATES = snippets.TEMPLATES / "two_files"
#: The driver in Python.
DRIVER = "listen.py"
#: What goes from one to the other.
MEANING = "what the front end makes of the sound"
#: The task of a front end, whose code has no labels.
SOUND = "audio_classification"


def paths(one: Exported, source: Path) -> dict[str, str]:
    """Return the TFLite files of an artifact that is two, by the names that model.json has for them, relative to
    `source`; nothing of one that is something else."""
    both = two_files.files(source / one.path)
    if both is None or both.network.suffix != ".tflite":
        return {}
    return {name: path.relative_to(source).as_posix() for name, path in both._asdict().items()}


def part_of(about: Description, part: str, file: FileSignature) -> Description:
    """Return what one of the two says of itself: its classes, and what its tensors mean.

    Args:
        about: what the model says.
        part: `front_end` or `network`.
        file: the signature of the part's file.
    """
    assert about.signature is not None
    is_front = part == "front_end"
    info = file.output if is_front else file.input
    features = info.described(output=is_front).model_copy(update={"meaning": MEANING})
    between = {"outputs" if is_front else "inputs": (features,)}
    own = {"task": SOUND, "labels": []} if is_front else {}
    return about.model_copy(update={"signature": about.signature.model_copy(update=between), **own})


def write(folder: Path, about: Description, exported: Sequence[Exported], source: Path) -> None:
    """Write the code for the first artifact that is two files: a class for each in Kotlin and Swift, as any file has
    one, and a driver in both and in Python. Nothing where there is none.

    Args:
        folder: of the code.
        about: what the model says of itself.
        exported: the artifacts, their paths relative to `source`.
    """
    parts = next((known for one in exported if one.target == "litert" and (known := paths(one, source))), None)
    if parts is None:
        return
    classes: dict[str, str] = {}
    ports: dict[str, Any] = {}
    for part, path in parts.items():
        signature = signatures.main((source / path).read_bytes())
        own = part_of(about, part, signature).model_copy(update={"name": f"{about.name}_{part}"})
        if part == "front_end":
            values = snippets.values_of(signature, own)
            ports = {"taken": values["inputs"][0], "given": values["outputs"][0]}
        file = Exported(variant=Path(path).stem, target="litert", path=path, bytes=1, zipped=1)
        snippets.write(folder, own, [file], {}, source)
        classes[part] = snippets.class_name(own.name, "Model")
    for template in sorted(TEMPLATES.glob("*.j2")):
        stem, ending = template.name.removesuffix(".j2").split(".")
        name = snippets.class_name(about.name, stem)
        snippets.write_code(folder / snippets.LANGUAGES[ending] / f"{name}.{ending}", template,
                            {"about": about, "class_name": name, **classes, **ports})
    (folder / "python").mkdir(parents=True, exist_ok=True)
    shutil.copy(TEMPLATES / DRIVER, folder / "python" / DRIVER)
