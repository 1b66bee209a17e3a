"""Image classification: one class per image."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from export.keras_models import imported
from export.signature import Arrays, Function, Signature, Tensor
from pipelines.errors import UserError
from pipelines.features.image import Image, in_words
from pipelines.features.label import Label
from pipelines.ingest.index import Index, Part
from pipelines.tasks import classes, diagnosis, rescaling
from pipelines.tasks.classes import BEST, OUTPUT, ClassMeasure, Row, calibration_error, softmax
from pipelines.tasks.diagnosis import DiagnosisMeasure
from pipelines.tasks.task import Evaluation, Metric, Place, Task
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

IMAGE, LABEL = "image", "label"
METRICS = (Metric(name="accuracy"), Metric(name="top3", label="top-3"),
           Metric(name="macro_f1", label="macro F1", shown=False),
           Metric(name="calibration_error", label="calibration error", better="lower"))
#: Feature of the tf.train.Example that the `classify` signature reads.
ENCODED = "image/encoded"


class ImageClassification(Task, name="image_classification"):
    """One class per image.

    Args:
        positive: of two classes the one that is looked for: sensitivity, specificity and AUC are then measured.
        sensitivity: of the positive class, at least, on the validation examples: the logits are shifted after the
            training so that the two classes meet there.
        calibrate: scale the logits after the training so that their softmax fits the validation examples best
            (temperature scaling).
    """

    inputs, targets, pairs = {IMAGE: Image}, {LABEL: Label}, {OUTPUT: LABEL}
    positive: str | None = Field(None, min_length=1)
    sensitivity: float | None = Field(None, gt=0, lt=1)
    calibrate: bool = False
    watched = (Metric(name="accuracy"),)
    worst_caption = "The wrong answers that the model was surest of"

    @model_validator(mode="after")
    def an_operating_point_is_of_a_class(self) -> ImageClassification:
        if self.sensitivity is not None and self.positive is None:
            raise PydanticCustomError("combination", "is the sensitivity of one of two classes: give positive, the "
                                      "name of that class, too", {"at": ["task", str(self.entry_name), "sensitivity"]})
        return self

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        return METRICS if self.positive is None else diagnosis.METRICS

    def dimensions(self, index: Index) -> dict[str, Any]:
        positive = self._positive_of(index)
        counts = index.counts.get("validation", {}).get(LABEL)
        if self.sensitivity is not None and counts is not None:
            self._refuse_one_class(counts, index.names(LABEL), positive or 0)
        return {"input_shape": index.inputs[IMAGE].shape, "classes": len(index.names(LABEL))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=OUTPUT, dtype="float32", shape=(len(index.names(LABEL)),), role="logits",
                       meaning="one per class, in the order of labels.txt; their softmax are the probabilities"),)

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"accuracy": classes.accuracy(LABEL)}

    def measure(self, index: Index) -> ClassMeasure:
        positive = self._positive_of(index)
        names = index.names(LABEL)
        return ImageClassMeasure(names, LABEL) if positive is None else DiagnosisMeasure(names, LABEL, positive)

    def finish(self, model: keras.Model, data: Data) -> list[str]:
        """Scale and shift the logits, where the recipe asks for it; return what was done."""
        if self.sensitivity is None and not self.calibrate:
            return []
        logits, labels = _answers_of(lambda inputs: model(inputs, training=False), data, "validation")
        factor = 1 / rescaling.temperature(logits, labels) if self.calibrate else 1.0
        shift = np.zeros(logits.shape[1])
        done = [f"logits divided by a temperature of {1 / factor:.3f}"] if self.calibrate else []
        positive = self._positive_of(data.index)
        if self.sensitivity is not None and positive is not None:
            scores = softmax(logits.astype(float) * factor)[:, positive]
            self._refuse_one_class(np.bincount(labels, minlength=2).tolist(), data.index.names(LABEL), positive)
            threshold = diagnosis.threshold_for(scores, labels == positive, self.sensitivity)
            shift[positive] = np.log1p(-threshold) - np.log(threshold)
            done.append(f"{self.positive} is answered from a probability of {threshold:.4f} on, for a sensitivity of "
                        f"{self.sensitivity:g} on the validation examples")
        rescaling.rescale(model, OUTPUT, factor, shift)
        return done

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with operating points, where one class is looked for."""
        positive = self._positive_of(data.index)
        if positive is None:
            return evaluation
        parts = {}
        for part in ("validation", "test"):
            logits, labels = _answers_of(predictor.predict, data, part)
            parts[part] = softmax(logits.astype(float))[:, positive], labels == positive
        _, ill = parts["validation"]
        if ill.all() or not ill.any():
            absent = data.index.names(LABEL)[1 - positive if ill.all() else positive]
            limit = f"The validation examples have none of {absent}, so that no operating points are chosen on them."
            return evaluation.model_copy(update={"limits": [*evaluation.limits, limit]})
        table = diagnosis.operating_points(parts["validation"], parts["test"])
        return evaluation.model_copy(update={"tables": [*evaluation.tables[:1], table, *evaluation.tables[1:]]})

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        return classes.in_words(outputs[OUTPUT], index.names(LABEL))

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        if self.positive is not None:
            known = evaluation.metrics
            return (f"It looks for {self.positive} in {in_words(index.inputs[IMAGE])}. On the held-out test examples "
                    f"its sensitivity is {known['sensitivity']:.3f} and its specificity {known['specificity']:.3f}, "
                    f"and its AUC {known['auc']:.3f}.")
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

    def _refuse_one_class(self, counts: Sequence[int], names: Sequence[str], positive: int) -> None:
        """Raise UserError where the validation examples are not of both classes.

        Args:
            counts: of the validation examples, by class.
            positive: the number of the class that is looked for.
        """
        for number in (positive, 1 - positive):
            if not counts[number]:
                raise UserError(f"task.image_classification.sensitivity: the threshold for it is chosen on the "
                                f"validation examples, and none of these is {names[number]}; raise data.validation, "
                                "add examples of it, or leave sensitivity out")

    def _positive_of(self, index: Index) -> int | None:
        """Return the number of the class that is looked for; None where none is. Raises UserError."""
        if self.positive is None:
            return None
        names = index.names(LABEL)
        if len(names) != 2 or self.positive not in names:
            raise UserError(f"task.image_classification.positive: it is one of two classes, and {self.positive} is not "
                            f"one of two: the data have {', '.join(names)}")
        return names.index(self.positive)


def _answers_of(ask: Callable[[Any], Any], data: Data, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (examples, classes) and true classes (examples,) of a split."""
    logits, labels = [], []
    for inputs, targets in data.batches(part):
        answered = ask({name: values.astype("float32") for name, values in inputs.items()})
        logits.append(np.asarray(answered[OUTPUT] if isinstance(answered, dict) else answered))
        labels.append(targets[LABEL])
    return np.concatenate(logits), np.concatenate(labels)


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
