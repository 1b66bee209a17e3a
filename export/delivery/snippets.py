"""The code that loads a bundle's model in an app: Kotlin and Swift, written for this very model."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.artifacts import Exported
from export.tflite import signatures
from export.tflite.metadata import Description

with epy.lazy_imports():
    import jinja2

TEMPLATES = Path(__file__).parent.parent / "templates"


def write(folder: Path, about: Description, exported: Sequence[Exported], recommended: Mapping[str, str], source: Path) -> None:
    """Writes Kotlin for LiteRT, and Swift for LiteRT and Core ML, as far as there are such files.

    Args:
        folder: to be made.
        about: what the model says of itself.
        exported: the artifacts, their paths relative to `source`.
        recommended: kind of device to the name of the artifact to take there; the code loads the one for phones' CPUs.
    """
    on_phones = [one for one in exported if one.target == "litert"]
    chosen = next((one for one in on_phones if one.name == recommended.get("phone_cpu")), on_phones[0] if on_phones else None)
    if chosen is not None:
        found = signatures.of((source / chosen.path).read_bytes())
        known = {"file": Path(chosen.path).name, "input": found.input, "output": found.output}
        _render(folder / "kotlin" / f"{class_name(about.name)}.kt", "Classifier.kt.j2", about, found.input.shape, **known)
        _render(folder / "swift" / f"{class_name(about.name)}.swift", "Classifier.swift.j2", about, found.input.shape, **known)
    apple = next((one for one in exported if one.path.endswith(".mlpackage")), None)
    if apple is not None and chosen is not None:
        path = Path(apple.path)
        _render(folder / "swift" / f"{class_name(about.name)}CoreML.swift", "CoreMLClassifier.swift.j2", about, found.input.shape,
                file=path.name, stem=path.stem)


def class_name(name: str) -> str:
    """A class's name made of a recipe's, for instance MyPhotosClassifier of my_photos."""
    words = "".join(word.capitalize() for word in re.split(r"[^a-z0-9]+", name) if word)
    return f"{'' if words[:1].isalpha() else 'Model'}{words}Classifier"


def _render(path: Path, template: str, about: Description, shape: tuple[int, ...], **values: Any) -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["literal"] = _kotlin_literal if path.suffix == ".kt" else _literal
    height, width, channels = shape[1:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.from_string((TEMPLATES / template).read_text()).render(
        about=about, labels=about.labels, class_name=class_name(about.name), height=height, width=width, channels=channels, **values))


def _literal(text: str) -> str:
    """A string as Swift writes it; characters that control something become spaces."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _kotlin_literal(text: str) -> str:
    """A string as Kotlin writes it, where a $ would be filled in."""
    return _literal(text).replace("$", "\\$")
