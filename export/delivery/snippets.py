"""The code that loads a bundle's model in an app: Kotlin and Swift, written for this very model."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.artifacts import Exported
from export.delivery import for_task
from export.signature import Signature, Tensor
from export.tflite import signatures
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature, TensorInfo

with epy.lazy_imports():
    import jinja2

TEMPLATES = Path(__file__).parent.parent / "templates"
#: The folder of templates for tasks that have none of their own.
ANY = "any"
#: Before a template's name, where it is of Core ML.
CORE_ML = "CoreML"
#: Ending of a file to the folder of its language.
LANGUAGES = {"kt": "kotlin", "swift": "swift"}
#: Types that each language reads and writes.
TYPES = {"kotlin": {"float32", "int32", "int64", "bool", "uint8", "int8"},
         "swift": {"float32", "int32", "int64", "bool", "uint8", "int8", "int16"}}
#: Words that cannot be names in Kotlin or Swift.
RESERVED = {"as", "break", "case", "catch", "class", "continue", "default", "do", "else", "enum", "false", "for", "fun",
            "func", "guard", "if", "import", "in", "init", "interface", "internal", "is", "let", "nil", "null",
            "object", "operator", "package", "private", "protocol", "public", "repeat", "return", "self", "static",
            "struct", "super", "switch", "this", "throw", "throws", "true", "try", "typealias", "val", "var", "when",
            "where", "while"}
#: Names that the templates use themselves.
TAKEN = {"inputs", "outputs", "model", "runner", "run"}


class Port(TensorInfo):
    """An input or output of a model, as templates name it.

    Args:
        meaning: in a few words.
    """

    meaning: str = ""

    @property
    def identifier(self) -> str:
        """Return the name as a language takes it."""
        return _identifier(self.name)

    @property
    def quantized(self) -> bool:
        """Return whether its numbers stand for others."""
        return bool(self.scale) and not self.stores_values

    @property
    def takes(self) -> str:
        """Return the type of the numbers that an app gives or gets."""
        return "float32" if self.quantized else self.dtype

    @property
    def comment(self) -> str:
        """Return its type, shape, quantization and meaning, on one line of a comment."""
        shape = ", ".join("?" if size < 0 else str(size) for size in self.shape)
        stored = f", stored as value / {self.scale:g} + {self.zero}" if self.quantized else ""
        text = f"{self.dtype} ({shape}){stored}{f': {self.meaning}' if self.meaning else ''}"
        return "".join(character if character.isprintable() else " " for character in text).replace("*/", "* /")


def write(folder: Path, about: Description, exported: Sequence[Exported], recommended: Mapping[str, str],
          source: Path) -> None:
    """Write Kotlin for LiteRT, and Swift for LiteRT and Core ML, if there are such files.

    The templates are those of the model's task: `templates/<task>/Name.kt.j2` becomes a class whose name ends in Name,
    and `CoreMLName.swift.j2` is for Core ML. A task without templates gets those of `templates/any`, and so does a file
    whose tensors are not as its task's templates want them, and a model that takes no images. A language that lacks a
    type of the model's tensors is left out. Of a detector every kind of file has a class, those of another target than
    litert with its name in theirs; a Core ML package has one, of what the network gives.

    Args:
        folder: to be made.
        about: what the model says of itself.
        exported: the artifacts, their paths relative to `source`.
        recommended: kind of device to the name of the artifact to take there; the code loads the one for phones' CPUs.
    """
    for one in chosen(about, exported, recommended):
        signature = signatures.main((source / one.path).read_bytes())
        own = about.name if one.target == "litert" else f"{about.name}_{one.target}"
        values = values_of(signature, about)
        for template, language in _templates(signature, about):
            if {port.dtype for port in (*values["inputs"], *values["outputs"])} <= TYPES[language]:
                stem, ending = template.name.removesuffix(".j2").split(".")
                name = class_name(own, stem)
                _render(folder / language / f"{name}.{ending}", template, Path(one.path), name, values)
    package = next((one for one in exported if one.path.endswith(".mlpackage")), None)
    if package is not None and about.signature is not None:
        signature = _of_core_ml(about.signature)
        for template, language in _templates(signature, about, CORE_ML):
            stem, ending = template.name.removesuffix(".j2").split(".")
            name = class_name(about.name, stem.removeprefix(CORE_ML))
            _render(folder / language / f"{name}{CORE_ML}.{ending}", template, Path(package.path), name,
                    values_of(signature, about))


def chosen(about: Description, exported: Sequence[Exported], recommended: Mapping[str, str]) -> list[Exported]:
    """Return the files that get code: the one for phones' CPUs, and of a detector one of each other target."""
    best = next((one for one in exported if one.name == recommended.get("phone_cpu")), None)
    targets = dict.fromkeys(one.target for one in exported if one.is_tflite and (
        one.target == "litert" or about.decoding is not None))
    files = {target: [one for one in exported if one.target == target and one.is_tflite] for target in targets}
    return [next((one for one in of_target if best is not None and one.variant == best.variant), of_target[0])
            for of_target in files.values()]


def _templates(signature: FileSignature, about: Description, before: str = "") -> list[tuple[Path, str]]:
    """Return the templates for a file whose names begin so, and the folders of their languages."""
    own = TEMPLATES / about.task
    takes_images = all(about.tensor(info).role == "image" for info in signature.inputs.values())
    folder = own if takes_images and own.is_dir() and for_task.fits(signature, about) else TEMPLATES / ANY
    return [(path, LANGUAGES[path.name.split(".")[1]]) for path in sorted(folder.glob(f"{before}*.j2"))
            if before or not path.name.startswith(CORE_ML)]


def class_name(name: str, ending: str = "Classifier") -> str:
    """Return a class's name made of a recipe's, for instance MyPhotosClassifier of my_photos."""
    words = "".join(word.capitalize() for word in re.split(r"[^a-z0-9]+", name) if word)
    return f"{'' if words[:1].isalpha() else 'Model'}{words}{ending}"


def values_of(signature: FileSignature, about: Description) -> dict[str, Any]:
    """Return what templates say of a file: what it is, its labels, its signature and tensors, the vocabularies of
    inputs that are positions in them, or vectors that hold such, and what its task adds."""
    inputs = [(info, about.tensor(info)) for info in signature.inputs.values()]
    columns = [column for _, tensor in inputs for column in (tensor, *tensor.parts)]
    return {"about": about, "labels": about.labels, "signature": signature.name,
            "inputs": [_port(info, tensor) for info, tensor in inputs],
            "outputs": [_port(info, about.tensor(info, output=True)) for info in signature.outputs.values()],
            "port": {info.name: _identifier(info.name) for info in signature.outputs.values()},
            "vocabularies": {_identifier(column.name): column.words for column in columns
                             if column.words and not column.delimiters},
            **for_task.values(signature, about)}


def _of_core_ml(signature: Signature) -> FileSignature:
    """Return the signature of a Core ML package, which is the model's own: grey images where a TFLite file may take
    RGB, and what the network gives where another file finds boxes itself."""
    inputs, outputs = ({tensor.name: TensorInfo(name=tensor.name, dtype="float32",
                                                shape=(1, *(size or -1 for size in tensor.shape)))
                        for tensor in tensors} for tensors in (signature.inputs, signature.outputs))
    return FileSignature(name=signature.name, inputs=inputs, outputs=outputs)


def _port(info: TensorInfo, tensor: Tensor) -> Port:
    return Port(**info.model_dump(), meaning=tensor.meaning)


def _identifier(name: str) -> str:
    """Return a tensor's name as a language takes it."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    if word in RESERVED | TAKEN:
        return f"{word}_"
    return word if word[:1].isalpha() else f"_{word}"


def _render(path: Path, template: Path, file: Path, name: str, values: Mapping[str, Any]) -> None:
    write_code(path, template, {"class_name": name, "file": file.name, "stem": file.stem,
                                "folder": file.parent.as_posix(), **values})


def write_code(path: Path, template: Path, values: Mapping[str, Any]) -> None:
    """Write a template filled in, in the language that the file's ending says."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     keep_trailing_newline=True, loader=jinja2.FileSystemLoader(TEMPLATES))
    environment.filters["literal"] = _kotlin_literal if path.suffix == ".kt" else _literal
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.from_string(template.read_text()).render(values))


def _literal(text: str) -> str:
    """Return a string as Swift writes it; characters that control something become spaces."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _kotlin_literal(text: str) -> str:
    """Return a string as Kotlin writes it, where a $ would be filled in."""
    return _literal(text).replace("$", "\\$")
