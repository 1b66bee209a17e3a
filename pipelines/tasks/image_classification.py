"""Image classification: one class per image."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from etils import epy

from export.keras_models import imported
from export.signature import Arrays, Function, Signature, Tensor
from pipelines.features.image import Image, in_words
from pipelines.features.label import Label
from pipelines.ingest.index import Index
from pipelines.tasks import classes
from pipelines.tasks.classes import BEST, OUTPUT, ClassMeasure, Row, calibration_error, softmax
from pipelines.tasks.task import Evaluation, Metric, Place, Task
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from pipelines.ingest.data import Data

IMAGE, LABEL = "image", "label"
#: Feature of the tf.train.Example that the `classify` signature reads.
ENCODED = "image/encoded"


class ImageClassification(Task, name="image_classification"):
    """One class per image."""

    inputs, targets, pairs = {IMAGE: Image}, {LABEL: Label}, {OUTPUT: LABEL}
    metrics = (Metric(name="accuracy"), Metric(name="top3", label="top-3"),
               Metric(name="macro_f1", label="macro F1", shown=False),
               Metric(name="calibration_error", label="calibration error", better="lower"))
    watched = (Metric(name="accuracy"),)
    worst_caption = "The wrong answers that the model was surest of"

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {"input_shape": index.inputs[IMAGE].shape, "classes": len(index.names(LABEL))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=OUTPUT, dtype="float32", shape=(len(index.names(LABEL)),), role="logits",
                       meaning="one per class, in the order of labels.txt; their softmax are the probabilities"),)

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"accuracy": classes.accuracy(LABEL)}

    def measure(self, index: Index) -> ImageClassMeasure:
        return ImageClassMeasure(index.names(LABEL), LABEL)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        return classes.in_words(outputs[OUTPUT], index.names(LABEL))

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        return (f"It tells {len(index.names(LABEL))} classes apart in {in_words(index.inputs[IMAGE])}, and "
                f"answers {evaluation.metrics['accuracy']:.2%} of the held-out test examples correctly.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        return classes.title(outputs[OUTPUT][position], int(targets[LABEL][position]), data.index.names(LABEL))

    def decision(self, outputs: Arrays) -> np.ndarray:
        return classes.decision(outputs)

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        return {"class": index.names(LABEL)[int(outputs[OUTPUT][0].argmax())]}

    def adopt(self, model: keras.Model, settings: ImportedModel) -> keras.Model:
        """Return a classifier made elsewhere as one from raw pixels to logits. Raises ValueError where it is none."""
        return imported.classifier(model, settings.pixels or "0..255")

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, `serving_default` and `serving_bytes` to logits and scores, and `classify` of
        tf.train.Example."""
        functions = super().functions(model, data, place)
        if place == "device":
            return functions
        scored = [classes.with_scores(function) for function in functions]
        return [*scored, classes.best_first(of_examples(scored[1]), data.index.names(LABEL))]


def of_examples(function: Function) -> Function:
    """Return the function that takes tf.train.Example messages with `image/encoded`.

    Args:
        function: from `image_bytes`; it becomes the signature `classify`.
    """
    examples = Tensor(name="inputs", dtype="string", shape=(), role="text", meaning=f"tf.train.Example with {ENCODED}")

    def call(inputs: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(inputs, {ENCODED: tf.io.FixedLenFeature([], tf.string)})
        return function.call(image_bytes=parsed[ENCODED])

    return Function(Signature(name="classify", inputs=(examples,), outputs=function.signature.outputs), call)


class ImageClassMeasure(ClassMeasure):
    """What a classifier of images is worth."""

    def values(self, logits: np.ndarray, labels: np.ndarray, f1: np.ndarray) -> dict[str, Any]:
        best = np.argsort(-logits, axis=1, kind="stable")[:, :BEST]
        return {"accuracy": (logits.argmax(axis=1) == labels).mean(),
                "top3": (best == labels[:, None]).any(axis=1).mean(), "macro_f1": f1.mean(),
                "calibration_error": calibration_error(softmax(logits), labels)}

    def limits(self, rows: Sequence[Row]) -> list[str]:
        weakest = sorted(rows, key=lambda row: row[4])[:3]
        return [f"Weakest classes (F1): {', '.join(f'{row[0]} {row[4]:.3f}' for row in weakest)}.",
                "It always answers one of its classes, whatever the image shows: other images than those it was "
                "trained on need a check of their own, for instance a threshold on the probability.",
                "The figures hold for data like the test set's. Images from another camera, light or population must "
                "be measured first."]
