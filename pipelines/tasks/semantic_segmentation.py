"""Semantic segmentation: one class per pixel."""
from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from etils import epy
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from export.keras_models import imported
from export.signature import Arrays, Function, Tensor
from pipelines.errors import UserError
from pipelines.features.image import Image, in_words, size_of
from pipelines.features.mask import VOID, Mask, classes_of
from pipelines.figures import segmentation
from pipelines.ingest.index import Index
from pipelines.tasks import drawn_masks, surfaces
from pipelines.tasks.answered import Answered
from pipelines.tasks.compared import Compared
from pipelines.tasks.pixel_confusion import PixelConfusion
from pipelines.tasks.task import Evaluation, Metric, Place
from pipelines.tasks.windows import InWindows
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

    from pipelines.ingest.data import Data

IMAGE, MASK, OUTPUT = "image", "mask", "logits"
#: Logits are the same where they differ by less, as a share of the largest of all.
TIE = 2e-4
Length = Annotated[float, Field(gt=0)]
OVERLAPS = (Metric(name="mean_iou", label="mean IoU"), Metric(name="dice", label="Dice"),
            Metric(name="pixel_accuracy", label="pixel accuracy"))


class SemanticSegmentation(InWindows, name="semantic_segmentation"):
    """One class per pixel.

    Args:
        windows: see `tasks.windows`: images are not brought to the model's size, but seen in windows of it, which
            overlap by this share.
        distances: measure how far boundaries are apart too, class by class: hausdorff_95, surface_distance and
            boundary_f1. It takes some 2 ms for each class of an image of 256 x 256 pixels, again for every file.
        spacing: height and width of a pixel that the model sees, for instance in mm; distances are then in that unit,
            else in such pixels. Of images that are resized it is not that of their files: 512 pixels of 0.7 mm, resized
            to 256, are 1.4 mm each.
        tolerance: of boundary_f1, in the unit of distances; 0.75 % of the image's diagonal where not given.
    """

    inputs, targets, pairs, split = {IMAGE: Image}, {MASK: Mask}, {OUTPUT: MASK}, "random"
    watched = (Metric(name="example_iou", label="IoU of an example"),
               Metric(name="pixel_accuracy", label="pixel accuracy"))
    ranked = True
    worst_caption = ("The best, the median and the worst test examples by their own mean IoU: the image, what is true, "
                     "what the model answers, and where it is wrong")
    distances: bool = False
    spacing: tuple[float, float] | None = None
    tolerance: float | None = Field(None, gt=0)

    @field_validator("spacing", mode="before", json_schema_input_type=Length | tuple[Length, Length] | None)
    @classmethod
    def read_spacing(cls, value: object) -> object:
        sides = value if isinstance(value, (list, tuple)) else [value, value]
        if value is not None and not all(isinstance(side, (int, float)) and side > 0 for side in sides):
            raise PydanticCustomError("spacing", "give a pixel's height and width, both above 0: [0.7, 0.7]")
        return None if value is None else sides

    @model_validator(mode="after")
    def are_about_distances(self) -> Self:
        given = [name for name in ("spacing", "tolerance") if getattr(self, name) is not None]
        if given and not self.distances:
            raise PydanticCustomError("combination", "{name} is about distances: add distances: true",
                                      {"name": given[0]})
        return self

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        """Return what it is worth, as the task's settings ask for it."""
        return OVERLAPS + (surfaces.METRICS if self.distances else ())

    def fault(self, example: Mapping[str, Any]) -> str | None:
        image, mask = size_of(example[IMAGE]), size_of(example[MASK])
        if image is None or mask is None or image == mask:
            return None
        return (f"has a mask of {_pixels(mask)} pixels and an image of {_pixels(image)}; give masks of their images' "
                "size")

    def dimensions(self, index: Index) -> dict[str, Any]:
        image, mask = index.inputs[IMAGE].shape, index.targets[MASK].shape
        if image[:2] != mask:
            raise UserError(f"data.mask: masks are {_pixels(mask)} and images {_pixels(image)} pixels; leave "
                            "data.mask.size out, and they are brought to the images' size")
        return {"input_shape": image, "classes": len(index.names(MASK))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        shape = (*index.targets[MASK].shape, len(index.names(MASK)))
        return (Tensor(name=OUTPUT, dtype="float32", shape=shape, role="logits",
                       meaning="one per pixel and class, in the order of labels.txt; the largest is the class"),)

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"example_iou": lambda targets, outputs: example_iou(targets[MASK], outputs[OUTPUT]),
                "pixel_accuracy": lambda targets, outputs: pixel_accuracy(targets[MASK], outputs[OUTPUT])}

    def measure(self, index: Index) -> PixelConfusion:
        names = index.names(MASK)
        if not self.distances:
            return PixelConfusion(MASK, OUTPUT, names)
        beside = surfaces.Surfaces(len(names), self.spacing or (1.0, 1.0), self.tolerance)
        return PixelConfusion(MASK, OUTPUT, names, beside, [self._unit(index.targets[MASK].shape)])

    def _unit(self, shape: Sequence[int | None]) -> str:
        """Return what the distances are in, as a limit of them."""
        seen = f"the {_pixels(shape)} pixels that the model sees"
        if self.spacing is None:
            return f"Distances are in pixels, of {seen}."
        height, width = self.spacing
        return (f"Distances count each of {seen} as {height:g} x {width:g}: they are true where the images that were "
                "brought to that size have such pixels then.")

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        names, lines = index.names(MASK), []
        for logits in outputs[OUTPUT]:
            shares = class_shares(logits[None])[0]
            order = [number for number in np.argsort(-shares, kind="stable") if shares[number]]
            lines.append("  ".join(f"{names[number] if names else number} {shares[number]:.1%}" for number in order))
        return lines

    def write_answers(self, files: Sequence[Path], outputs: Arrays, index: Index, folder: Path) -> None:
        """Write each mask as a PNG of the classes' numbers, and over its image."""
        masks = [logits.argmax(axis=-1).astype("uint8") for logits in outputs[OUTPUT]]
        drawn_masks.write(files, list(outputs[IMAGE]), masks, index, folder)

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        return (f"It gives each pixel of {in_words(index.inputs[IMAGE])} one of {len(index.names(MASK))} classes. On "
                f"the held-out test examples its mean IoU is {evaluation.metrics['mean_iou']:.3f}, and "
                f"{evaluation.metrics['pixel_accuracy']:.2%} of the pixels are right.")

    def draw(self, axes: Axes, data: Data, inputs: Arrays, targets: Arrays, position: int,
             title: str | None = None) -> None:
        """Draw an example's mask over its image."""
        super().draw(axes, data, inputs, targets, position, title)
        segmentation.overlay(axes, classes_of(targets[MASK][position]), data.index.names(MASK))

    def draw_answers(self, data: Data, examples: Sequence[Answered], path: Path) -> None:
        """Draw each example's image, its mask, the answer, and where that is wrong."""
        image, learnt = data.features[IMAGE], data.index.learnt[IMAGE]
        rows = [(f"{one.rank}: mean IoU {1 - one.wrong:.3f}",
                 functools.partial(image.draw, value=one.inputs[IMAGE][0], learnt=learnt),
                 one.targets[MASK][0], one.outputs[OUTPUT][0].argmax(axis=-1)) for one in examples]
        segmentation.answers(rows, data.index.names(MASK), path)

    def decision(self, outputs: Arrays) -> np.ndarray:
        """Return the share of pixels that are not of the first class, which in most data is the background."""
        return _foreground(outputs[MASK] if MASK in outputs else outputs[OUTPUT].argmax(axis=-1))

    def decided(self, targets: Arrays) -> np.ndarray:
        return _foreground(targets[MASK])

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        return {"shares": self.in_words(outputs, index)[0]}

    def compared(self, index: Index, given: Collection[str]) -> Compared:
        """Return how a file is compared: by its logits and, where it gives masks, by these."""
        logits = self.outputs(index)[0]
        if MASK not in given:
            return Compared((logits,))
        return Compared((logits, mask_of(logits)), lambda outputs: {**outputs, MASK: outputs[OUTPUT].argmax(axis=-1)},
                        without_ties)

    def adopt(self, model: keras.Model, settings: ImportedModel) -> keras.Model:
        """Return a model made elsewhere as one from raw pixels to logits. Raises ValueError where it is none."""
        return imported.classifier(model, settings.pixels or "0..255", dense=True)

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, the usual signatures to logits and the class of every pixel."""
        functions = super().functions(model, data, place)
        return functions if place == "device" else [with_mask(function) for function in functions]


def class_shares(logits: np.ndarray) -> np.ndarray:
    """Return the share of the pixels that each class takes, (batch, height, width, classes) to (batch, classes)."""
    mask = logits.argmax(axis=-1)
    return np.stack([(mask == number).mean(axis=(1, 2)) for number in range(logits.shape[-1])], axis=1)


def mask_of(logits: Tensor) -> Tensor:
    """Return the tensor of the class of every pixel beside that of its logits."""
    return Tensor(name=MASK, dtype="uint8", shape=logits.shape[:-1], role="mask", meaning="the class of every pixel")


def without_ties(outputs: Arrays, expected: Arrays) -> dict[str, np.ndarray]:
    """Return what a file gives, its mask as expected where the logits of both classes are all but equal: which of them
    is the larger is a matter of rounding there."""
    logits, mask = expected[OUTPUT], np.asarray(outputs[MASK], "int64")
    chosen = np.take_along_axis(logits, np.clip(mask, 0, logits.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    tied = logits.max(axis=-1) - chosen <= TIE * max(1.0, float(np.abs(logits).max(initial=0.0)))
    return {OUTPUT: outputs[OUTPUT], MASK: np.where(tied, expected[MASK], mask)}


def with_mask(function: Function) -> Function:
    """Return the function with `mask`, the class of every pixel, beside its logits."""
    logits = function.signature.outputs[0]
    mask = mask_of(logits)

    def call(**tensors: Any) -> dict[str, Any]:
        outputs = function.call(**tensors)
        return {**outputs, MASK: tf.cast(tf.argmax(outputs[OUTPUT], -1), tf.uint8)}

    return Function(function.signature.model_copy(update={"outputs": (logits, mask)}), call)


def pixel_accuracy(targets: Any, logits: Any) -> Any:
    """Return the share of pixels that are right, of those that have a class: one-hot targets (batch, height, width,
    classes) to (batch,)."""
    known = tf.reduce_sum(targets, -1)
    right = tf.cast(tf.argmax(targets, -1) == tf.argmax(logits, -1), known.dtype) * known
    return tf.math.divide_no_nan(tf.reduce_sum(right, [1, 2]), tf.reduce_sum(known, [1, 2]))


def example_iou(targets: Any, logits: Any) -> Any:
    """Return each example's mean IoU over the classes that occur in it, (batch,)."""
    known = tf.reduce_sum(targets, -1, keepdims=True)
    answers = tf.one_hot(tf.argmax(logits, -1), logits.shape[-1], dtype=targets.dtype) * known
    shared = tf.reduce_sum(targets * answers, [1, 2])
    union = tf.reduce_sum(targets, [1, 2]) + tf.reduce_sum(answers, [1, 2]) - shared
    occurs = tf.cast(union > 0, targets.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(tf.math.divide_no_nan(shared, union), -1), tf.reduce_sum(occurs, -1))


def _foreground(masks: np.ndarray) -> np.ndarray:
    """Return the share of the pixels that are of another class than the first, of those that have one, (batch,)."""
    known = masks != VOID
    return ((masks != 0) & known).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)


def _pixels(shape: Sequence[int | None]) -> str:
    return " x ".join("?" if side is None else str(side) for side in shape[:2])
