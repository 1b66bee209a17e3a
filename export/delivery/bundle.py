"""The bundle: what an app team receives. The same inputs give the same bytes."""
from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from export.artifacts import Exported
from export.delivery import buckets, drawing, engine_code, manifest, snippets, two_files, writer
from export.delivery import samples as golden_samples
from export.delivery.archive import write_zip
from export.signature import Signature, Tensor, shown
from export.targets import mediapipe, saved_model
from export.tflite import signatures
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature, TensorInfo

CHECKSUMS = "SHA256SUMS"
#: Words of a vocabulary that a signature's description has; model.json lists them all.
MOST_WORDS = 5
#: What is in a bundle beside its models.
LABELS, MODELS, CARD, CODE = "labels.txt", "model.json", "MODEL_CARD.md", "code"
#: What model.json calls how images of another size are brought to the model's, and what it has there where they are not
#: resized.
FIT, PAD = "fit", "pad"
#: What model.json calls how boxes come of a detector's answers, and where key points lie in aligned pictures.
DECODING, PLACES = "decoding", "places"
#: What model.json calls the numbers that were measured of a model.
METRICS = "metrics"


def write(folder: Path, *, about: Description, signature: Signature, exported: Sequence[Exported], source: Path,
          samples: Sequence[golden_samples.Sample], card: str, recommended: Mapping[str, str],
          rollback: str | None = None, metrics: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
          files: Mapping[str, bytes] = MappingProxyType({})) -> None:
    """Fill a folder with the models, and all that an app needs to use and to check them.

    Args:
        folder: to be made.
        about: what the model says of itself.
        signature: what its tensors mean.
        exported: the artifacts, their paths relative to `source`.
        samples: golden examples.
        card: the model card, Markdown.
        recommended: kind of device to the name of the artifact to take there.
        rollback: the version that an app falls back to.
        metrics: of the artifacts that were measured, by their names.
        files: what else an app needs to prepare inputs, by their paths in the folder.
    """
    about = about.model_copy(update={"signature": signature})
    folder.mkdir(parents=True)
    for target in dict.fromkeys(one.target for one in exported):
        shutil.copytree(source / target, folder / target)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if about.labels:
        (folder / LABELS).write_text("".join(f"{label}\n" for label in about.labels))
    models = [_described(one, folder, about) | ({METRICS: dict(metrics[one.name])}
                                                           if one.name in metrics else {}) for one in exported]
    known = {DECODING: about.decoding.model_dump(mode="json")} if about.decoding is not None else {}
    known |= {PLACES: about.places} if about.places else {}
    (folder / MODELS).write_text(json.dumps({"labels": about.labels, **known, "models": models}, indent=1))
    golden_samples.write(folder / golden_samples.FOLDER, samples)
    (folder / CARD).write_text(card)
    snippets.write(folder / CODE, about, exported, recommended, source)
    two_files.write(folder / CODE, about, exported, source)
    writer.write(folder / CODE, about, exported, source)
    engine_code.write(folder / CODE, about, exported, source)
    drawing.write(folder / CODE, about, exported, recommended, source)
    buckets.write(folder / CODE, about, exported, source)
    (folder / CHECKSUMS).write_text(checksums(folder))
    listed = manifest.create(folder, about.name, about.version, exported, recommended, rollback)
    (folder / manifest.NAME).write_text(listed.text())


def checksums(folder: Path) -> str:
    """Return the SHA-256 of every file below a folder but the list itself, as `sha256sum --check` reads it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    return "".join(f"{manifest.sha256(path)}  {path.relative_to(folder)}\n" for path in files)


def zip_up(folder: Path, name: str) -> Path:
    """Write the folder as `<name>-<first digits of its digest>.zip` beside it; return the file."""
    digest = hashlib.sha256((folder / CHECKSUMS).read_bytes()).hexdigest()[:6]
    target = folder.parent / f"{name}-{digest}.zip"
    write_zip(target, {f"{name}-{digest}/{path.relative_to(folder)}": path.read_bytes()
                       for path in folder.rglob("*") if path.is_file()})
    return target


def _described(one: Exported, folder: Path, about: Description) -> dict[str, Any]:
    """Return what goes into an artifact and what comes out, tensor by tensor."""
    path = folder / one.path
    described: dict[str, Any] = {"name": one.name, "variant": one.variant, "target": one.target, "path": one.path,
                                 "bytes": one.bytes, "summary": one.summary}
    if one.coverage is not None:
        described["coverage"] = one.coverage.model_dump(exclude_none=True)
    if one.estimates:
        described["estimates"] = one.estimates
    if one.is_tflite:
        content = path.read_bytes()
        main = signatures.main(content)
        if set(main.inputs) == set(mediapipe.MEANINGS):
            about = mediapipe.described(about)
        others = [signature for signature in signatures.of(content).values() if signature.name != main.name]
        described |= {"signature": main.name, "operators": one.operators, **_tensors(main, about)}
        described |= {"other_signatures": {other.name: _tensors(other, about) for other in others}} if others else {}
    elif parts := two_files.paths(one, folder):
        described |= {"rate": about.rate, "operators": one.operators}
        for part, own in parts.items():
            main = signatures.main((folder / own).read_bytes())
            tensors = _tensors(main, two_files.part_of(about, part, main))
            described[part] = {"path": own, "signature": main.name, **tensors}
    elif one.target == "saved_model":
        described["signatures"] = {name: _in_words(signature, about)
                                   for name, signature in saved_model.signatures(path).items()}
    return described


def _tensors(signature: FileSignature, about: Description) -> dict[str, list[dict[str, Any]]]:
    """Return the inputs and outputs of a TFLite file's signature."""
    return {"inputs": [_tensor(info, about.tensor(info)) for info in signature.inputs.values()],
            "outputs": [_tensor(info, about.tensor(info, output=True)) for info in signature.outputs.values()]}


def _tensor(info: TensorInfo, tensor: Tensor) -> dict[str, Any]:
    described: dict[str, Any] = {"name": info.name, "dtype": info.dtype, "shape": list(info.shape),
                                 "meaning": tensor.meaning, **_column(tensor)}
    if tensor.padded:
        described[FIT] = PAD
    if tensor.parts:
        described["columns"] = [{"position": number, "name": part.name, "meaning": part.meaning, **_column(part)}
                                for number, part in enumerate(tensor.parts)]
    if info.scale:
        described["quantization"] = {"scale": info.scale, "zero_point": info.zero,
                                     "real_value": "(stored - zero_point) * scale"}
    return described


def _column(tensor: Tensor) -> dict[str, Any]:
    """Return what else is to be known of a column of a table: its vocabulary, and what to give for a missing number."""
    described: dict[str, Any] = {"words": list(tensor.words)} if tensor.words and not tensor.delimiters else {}
    if tensor.missing is not None:
        described["missing"] = {"give": "NaN", "counts_as": tensor.missing}
    return described


def _in_words(signature: Signature, about: Description) -> str:
    """Return a SavedModel's signature in a line: "image: uint8 (batch, 28, 28, 1), raw pixels 0..255 -> logits"."""
    meanings: dict[str, str] = {}
    known = about.signature.inputs if about.signature is not None else ()
    for one in [*known, *(part for vector in known for part in vector.parts)]:
        words = f"text, one of {_listed(one.words[1:])}" if one.words else one.meaning
        meanings |= {one.name: words, f"{one.name}_bytes": "encoded files"}
    order = {name: position for position, name in enumerate(meanings)}
    inputs = []
    for tensor in sorted(signature.inputs, key=lambda tensor: order.get(tensor.name, len(order))):
        meaning = tensor.meaning or meanings.get(tensor.name)
        described = f"{tensor.name}: {tensor.dtype} {shown((None, *tensor.shape))}"
        inputs.append(f"{described}, {meaning}" if meaning else described)
    return f"{'; '.join(inputs)} -> {', '.join(tensor.name for tensor in signature.outputs)}"


def _listed(words: Sequence[str]) -> str:
    """Return the first words of a vocabulary, for people."""
    more = f" and {len(words) - MOST_WORDS:,} more" if len(words) > MOST_WORDS else ""
    return ", ".join(repr(word) for word in words[:MOST_WORDS]) + more
