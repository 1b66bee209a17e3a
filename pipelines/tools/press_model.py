"""What is to be pressed, and what kind of model that is."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from export.frameworks.program import Program
from export.keras_models import as_graph, graph, imported
from export.keras_models.pixels import SCALING, Pixels
from export.onnx_models.reader import Layout
from export.signature import Signature, shown
from export.tflite import edit, signatures
from pipelines.errors import UserError
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from pipelines.tasks.tabular.task import Tabular
from pipelines.tasks.task import Task
from pipelines.training.model_section import FILE, ImportedModel

#: The range of pixels that is taken where none is given.
USUAL: Pixels = "0..255"
#: The task of a model of which nothing is known but what it answers.
EQUIVALENCE = "equivalence"
#: What a model can be measured as where the data have what it should answer.
TASKS: dict[str, type[Task]] = {str(task.entry_name): task for task in (ImageClassification, SemanticSegmentation)}


@dataclasses.dataclass(frozen=True)
class PressSettings:
    """What to press, and how.

    Args:
        model: a .keras, .h5, .tflite, .onnx or .pb file, or a SavedModel folder.
        data: see `pipelines.tools.data_option`.
        scratch: folder where images without labels get the model's own answers.
        variants, targets: as a recipe's lists name them, with commas between; the usual ones where not given.
        pixels: the range that the model was trained on, where it is known.
        name: of the runs; made from the file's where not given.
        allow_code: run the code that the model's file holds, in a process of its own.
        task: image_classification, semantic_segmentation, tabular or equivalence, as a recipe has it; where not given
            the first for those that are such, else the last.
        target: the column of a table that the model answers, where it has another name than a table's usual one.
        layout: of an .onnx file's images, where they are turned.
        torch, jax: in the model's place, module:function, one that makes it.
        program: the model in the library that it was made with, where that cannot read its file.
    """

    model: Path
    data: str
    scratch: Path
    variants: str | None = None
    targets: str | None = None
    pixels: Pixels | None = None
    name: str | None = None
    allow_code: bool = False
    task: str | None = None
    target: str | None = None
    layout: Layout | None = None
    torch: str | None = None
    jax: str | None = None
    program: Program | None = None

    @property
    def section(self) -> ImportedModel:
        """Return the model as a recipe has it."""
        return ImportedModel(path=str(self.model), pixels=self.pixels, allow_code=self.allow_code, layout=self.layout)

    def written(self, **others: Any) -> dict[str, Any]:
        """Return the model's section of a recipe."""
        return {"builder": FILE, **self.section.model_dump(exclude_defaults=True), **others}


class ModelShape(BaseModel):
    """What a model takes and gives.

    Args:
        is_keras: it is taken layer by layer, and not as a graph.
        shape, classes: of a classifier of images or of their pixels, (height, width, channels) and how many.
        signature: of any other model; equivalence is its task.
        reason: why it is no classifier of images, where that was looked at.
    """

    is_keras: bool
    shape: tuple[int, int, int] = (0, 0, 0)
    classes: int = 0
    signature: Signature | None = None
    reason: str = ""


def describe(section: ImportedModel, task: str | None = None) -> ModelShape:
    """Return what a model takes and gives.

    Args:
        task: see `PressSettings`.

    Raises:
        UserError: it cannot be read, or is not of that task.
    """
    model, settings = Path(section.path), (section.allow_code, section.layout)
    try:
        loaded, reason = as_graph.layer_by_layer(model, section.allow_code)
        if loaded is None:
            if task == str(Tabular.entry_name):
                raise ValueError(f"{model}: for tables only Keras models can be taken over, layer by layer; {reason}")
            return _described(task, lambda: signatures.main(normalized(section, USUAL)).signature(),
                              lambda: as_graph.signature_of(model, *settings), is_keras=False)
        if task == str(Tabular.entry_name):
            return ModelShape(is_keras=True, signature=imported.signature_in_order(loaded))
        adopt = TASKS[task]().adopt if task in TASKS else ImageClassification().adopt
        return _described(task, lambda: graph.signature_of(adopt(loaded, section)),
                          lambda: imported.signature_in_order(loaded), is_keras=True)
    except ValueError as error:
        message = str(error)
        raise UserError(f"press: {message if str(model) in message else f'{model}: {message}'}") from error


def _described(task: str | None, classifier: Callable[[], Signature], any_model: Callable[[], Signature],
               is_keras: bool) -> ModelShape:
    """Return what a model is: a classifier of images or of their pixels where it can be one, and equivalence is not
    asked for.

    Args:
        classifier, any_model: what the model takes and gives as either; the first raises ValueError where it is none.
    """
    reason = ""
    if task != EQUIVALENCE:
        try:
            signature = classifier()
            image, logits = signature.inputs[0].shape, signature.outputs[0].shape
            if None in image or not logits or logits[-1] is None:
                raise ValueError(f"it takes {shown((None, *image))} and gives {shown((None, *logits))}; the size of an "
                                 "image and how many classes there are must be known")
            return ModelShape(shape=image, classes=logits[-1], is_keras=is_keras)  # type: ignore[arg-type]
        except ValueError as error:
            if task is not None:
                raise
            reason = str(error)
    return ModelShape(is_keras=is_keras, signature=any_model(), reason=reason)


def normalized(section: ImportedModel, pixels: Pixels) -> bytes:
    """Return a model that is taken as a graph as a TFLite file from raw pixels to logits.

    Raises:
        ValueError: it cannot be read, or is not an image classifier.
    """
    return edit.normalized(as_graph.as_tflite(Path(section.path), section.allow_code, section.layout), *SCALING[pixels])
