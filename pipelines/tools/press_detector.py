"""`litepress press --task object_detection`: detectors that were made elsewhere, on images with boxes."""
from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.keras_models import as_graph
from export.keras_models.pixels import SCALING
from export.predictors import open_predictor
from export.tflite import edit, heads
from pipelines.engine import workers
from pipelines.errors import UserError
from pipelines.features.image import Image
from pipelines.ingest import Source
from pipelines.ingest.sources.box_table import BoxTable
from pipelines.ingest.sources.coco import Coco
from pipelines.ingest.sources.voc import Voc
from pipelines.ingest.sources.yolo import Yolo
from pipelines.training.model_section import FILE, Head, ImportedModel

with epy.lazy_imports():
    import numpy as np

#: Images that a model is asked about to see what it counts its boxes in, and from which number on these are pixels.
ASKED, PIXELS_FROM = 16, 2.0


class Looked(BaseModel):
    """What was seen of a detector.

    Args:
        image: height, width and channels that it takes.
        head: how its output is read.
    """

    image: tuple[int, int, int]
    head: Head


def document(model: ImportedModel, data: str, **others: Any) -> dict[str, Any]:
    """Return the recipe that measures a detector on images with boxes.

    Args:
        others: `name`, and what is made of it, `variants` and `targets`.

    Raises:
        UserError: the data have no boxes, or the model does not give them.
    """
    source = boxes_of(data)
    looked: Looked = workers.call(look, model, source.written(), what="press: reading the model")
    return {"name": others["name"], "task": "object_detection",
            "data": {"source": source.written(), "batch": max(1, min(16, (source.size("train") or 160) // 10)),
                     "image": {"size": list(looked.image[:2]), "channels": looked.image[2]}},
            "model": {"builder": FILE, **model.model_dump(exclude_defaults=True), "head": looked.head.model_dump()},
            "compress": {"variants": others["variants"]}, "export": {"targets": others["targets"]}}


def boxes_of(data: str) -> Source:
    """Return the source of images with boxes that `--data` names. Raises UserError."""
    path = Path(data)
    if path.suffix.lower() in (".yaml", ".yml") or (path.is_dir() and any(path.glob("*.yaml"))):
        return Yolo(path=data)
    if path.suffix.lower() == ".csv":
        return BoxTable(path=data)
    if path.suffix.lower() == ".json" or (path.is_dir() and (any(path.glob("annotations/*.json")) or any(
            path.glob("*.json")) or any(path.glob("*/_annotations.coco.json")))):
        return Coco(path=data)
    if path.is_dir() and (any(path.glob("*.xml")) or (path / "Annotations").is_dir()):
        return Voc(path=data)
    if path.exists() or "/" in data:
        raise UserError(f"--data {data}: it has no boxes; give a data.yaml (YOLO), a folder or .json file (COCO), a "
                        "folder (PASCAL VOC), or a .csv file of boxes")
    try:
        return Source.read(data)  # type: ignore[return-value]
    except ValueError:
        raise UserError(f"--data {data}: there is no such file, folder or source") from None


def look(model: ImportedModel, written: Any) -> Looked:
    """Return how a model's output is read: what is in it by its shape and the data's classes, and what boxes are
    counted in by asking it about a few images.

    Raises:
        UserError: it is no detector of these classes.
    """
    source: Source = Source.read(written)  # type: ignore[assignment]
    source.prepare()
    classes = len(source.fields()["boxes"].names or [])
    try:
        content = edit.normalized(_graph(model), *SCALING[model.pixels or "0..255"])
    except ValueError as error:
        raise UserError(f"press: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        predictor = open_predictor(path)
        signature = next(iter(predictor.signatures.values()))
        image, shape = signature.inputs[0].shape, (1, *(size or 0 for size in signature.outputs[0].shape))
        objectness, axis = _layout(model.path, shape, classes)
        values = predictor.predict({signature.inputs[0].name: _images(source, image)})[signature.outputs[0].name]
    boxes = np.moveaxis(values, axis, -1)[..., :heads.SIDES]
    head = Head(boxes="pixels" if np.abs(boxes).max() > PIXELS_FROM else "shares", places=shape[3 - axis],
                objectness=objectness)
    return Looked(image=image, head=head)


def _graph(model: ImportedModel) -> bytes:
    """Return a model as a TFLite file. Raises ValueError where it is not of one image and one output."""
    path, settings = Path(model.path), (model.allow_code, model.layout)
    signature = as_graph.signature_of(path, *settings)
    if len(signature.outputs) == 2 and sorted(len(one.shape) for one in signature.outputs) == [2, 2]:
        named = " and ".join(f"{one.name} {one.shape}" for one in signature.outputs)
        raise ValueError(f"{path}: its outputs {named} look like offsets from anchors, and scores; which anchors, the "
                         "file does not say. Leave --task out: files are held against its own answers, and each output "
                         "has a scale of its own")
    return as_graph.as_tflite(path, *settings)


def _layout(model: str, shape: Sequence[int], classes: int) -> tuple[bool, int]:
    """Return whether an output holds how likely there is anything, and which of its axes has a box's numbers. Raises
    UserError."""
    for numbers, objectness in ((heads.SIDES + classes, False), (heads.SIDES + 1 + classes, True)):
        try:
            return objectness, heads.axis_of(shape, numbers)
        except ValueError:
            continue
    raise UserError(f"press: {model} gives {tuple(shape)}, and the data have {classes} classes: a box must have 4 "
                    f"numbers and {classes} scores, {heads.SIDES + classes} in all, or one more before the scores. "
                    "Give data of the model's classes, all of them named in its order; or leave --task out, and files "
                    "are held against the model's own answers")


def _images(source: Source, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return the first training images, uint8 (images, height, width, channels). Raises UserError where there are
    none."""
    image = Image(size=(shape[0] or 0, shape[1] or 0), channels=3 if shape[2] == 3 else 1)
    pixels = []
    for example in source.examples("train", list(range(min(ASKED, source.size("train") or ASKED)))):
        if image.fault(example["image"].numpy(), None) is None:  # type: ignore[arg-type]  # it does not look at it
            pixels.append(image.load(example["image"], None).numpy())  # type: ignore[arg-type]
    if not pixels:
        raise UserError("--data: none of its first images can be read")
    return np.stack(pixels)
