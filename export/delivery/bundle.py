"""The bundle: what an app team receives. The same inputs give the same bytes."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.artifacts import Exported
from export.delivery import manifest, snippets
from export.delivery.archive import write_zip
from export.predictors import LiteRTPredictor
from export.tflite.metadata import Description

with epy.lazy_imports():
    import numpy as np
    import PIL.Image

CHECKSUMS = "SHA256SUMS"


@dataclasses.dataclass(frozen=True)
class Sample:
    """A test picture with what the models answered to it.

    Args:
        image: uint8 (height, width, channels).
        label: its true class.
        logits: artifact name (and "keras") to logits (classes,).
    """

    image: np.ndarray
    label: int
    logits: Mapping[str, np.ndarray]


def write(folder: Path, *, about: Description, exported: Sequence[Exported], source: Path, samples: Sequence[Sample], card: str,
          recommended: Mapping[str, str], rollback: str | None = None) -> None:
    """Fills a folder with the models, and all that an app needs to use and to check them.

    Args:
        folder: to be made.
        about: what the model says of itself.
        exported: the artifacts, their paths relative to `source`.
        samples: golden examples.
        card: the model card, Markdown.
        recommended: kind of device to the name of the artifact to take there.
        rollback: the version that an app falls back to.
    """
    labels = about.labels
    folder.mkdir(parents=True)
    for target in dict.fromkeys(one.target for one in exported):
        shutil.copytree(source / target, folder / target)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    (folder / "model.json").write_text(json.dumps(
        {"labels": list(labels), "models": [_describe(one, folder / one.path) for one in exported]}, indent=1))
    _write_samples(folder / "samples", samples, labels)
    (folder / "MODEL_CARD.md").write_text(card)
    snippets.write(folder / "code", about, exported, recommended, source)
    (folder / CHECKSUMS).write_text(checksums(folder))
    (folder / manifest.NAME).write_text(manifest.create(folder, about.name, about.version, exported, recommended, rollback).text())


def checksums(folder: Path) -> str:
    """The SHA-256 of every file below a folder but the list itself, in the form that `sha256sum --check` reads."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    return "".join(f"{manifest.sha256(path)}  {path.relative_to(folder)}\n" for path in files)


def zip_up(folder: Path, name: str) -> Path:
    """Writes the folder as `<name>-<first digits of its digest>.zip` beside it."""
    digest = hashlib.sha256((folder / CHECKSUMS).read_bytes()).hexdigest()[:6]
    target = folder.parent / f"{name}-{digest}.zip"
    write_zip(target, {f"{name}-{digest}/{path.relative_to(folder)}": path.read_bytes()
                       for path in folder.rglob("*") if path.is_file()})
    return target


def _describe(one: Exported, path: Path) -> dict[str, Any]:
    """What goes in and what comes out, tensor by tensor."""
    described: dict[str, Any] = {"name": one.name, "variant": one.variant, "target": one.target, "path": one.path, "bytes": one.bytes,
                                 "summary": one.summary}
    if one.coverage is not None:
        described["coverage"] = one.coverage.model_dump(exclude_none=True)
    if one.estimates:
        described["estimates"] = one.estimates
    if one.target == "litert":
        predictor = LiteRTPredictor(path)
        described |= {"signature": "serving_default", "operators": one.operators,
                      "inputs": [_tensor(name, detail) for name, detail in predictor.inputs.items()],
                      "outputs": [_tensor(name, detail) for name, detail in predictor.outputs.items()]}
    elif one.target == "saved_model":
        described["signatures"] = {
            "serving_default": "image: uint8 raw pixels (batch, height, width, channels) -> logits, scores",
            "serving_bytes": "image_bytes: encoded pictures (batch,) -> logits, scores",
            "classify": "inputs: tf.train.Example with image/encoded (batch,) -> classes, scores, best first"}
    return described


def _tensor(name: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    scale, zero = detail["quantization"]
    meaning = ("raw pixels 0..255, RGB or grey" if name == "image" else
               "one per class, in the order of labels.txt; their softmax are the probabilities")
    described: dict[str, Any] = {"name": name, "dtype": np.dtype(detail["dtype"]).name,
                                 "shape": [int(size) for size in detail["shape"]], "meaning": meaning}
    if scale:
        described["quantization"] = {"scale": float(scale), "zero_point": int(zero), "real_value": "(stored - zero_point) * scale"}
    return described


def _write_samples(folder: Path, samples: Sequence[Sample], labels: Sequence[str]) -> None:
    folder.mkdir()
    listed = []
    for number, sample in enumerate(samples):
        name = f"{number:02d}.png"
        pixels = sample.image[..., 0] if sample.image.shape[-1] == 1 else sample.image
        PIL.Image.fromarray(pixels).save(folder / name)
        listed.append({"file": name, "label": labels[sample.label], "expected": {
            model: {"class": labels[int(logits.argmax())], "logits": [round(float(value), 5) for value in logits]}
            for model, logits in sample.logits.items()}})
    (folder / "expected.json").write_text(json.dumps(listed, indent=1))
