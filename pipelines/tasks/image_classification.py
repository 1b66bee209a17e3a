"""Image classification: one class per image."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.keras_models import imported
from export.signature import Arrays, Function, Signature, Tensor
from pipelines.features.image import Image
from pipelines.features.label import Label
from pipelines.figures import figures
from pipelines.ingest.index import Index
from pipelines.tasks.task import Evaluation, Figure, Metric, Place, Table, Task, rounded
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf
    from sklearn import metrics as sklearn_metrics

if TYPE_CHECKING:
    import keras

    from pipelines.ingest.data import Data

IMAGE, LABEL, OUTPUT = "image", "label", "logits"
BEST = 3
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

    def watch(self) -> dict[str, Callable[[Any, Any], Any]]:
        return {"accuracy": lambda targets, outputs: tf.cast(
            tf.argmax(targets[LABEL], -1) == tf.argmax(outputs[OUTPUT], -1), tf.float32)}

    def measure(self, index: Index) -> ClassificationMeasure:
        return ClassificationMeasure(index.names(LABEL))

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        names, lines = index.names(LABEL), []
        for row in softmax(outputs[OUTPUT]):
            best = np.argsort(-row, kind="stable")[:BEST]
            lines.append("  ".join(f"{names[number] if names else number} {row[number]:.1%}" for number in best))
        return lines

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        height, width, channels = index.inputs[IMAGE].shape
        return (f"It tells {len(index.names(LABEL))} classes apart in {'RGB' if channels == 3 else 'grey'} images of "
                f"{height} x {width} pixels, and "
                f"answers {evaluation.metrics['accuracy']:.2%} of the held-out test examples correctly.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        names = data.index.names(LABEL)
        scores = softmax(outputs[OUTPUT][position])
        answer = int(scores.argmax())
        truth = int(targets[LABEL][position])
        if answer == truth:
            return f"{names[truth]} ({scores[answer]:.0%})"
        return f"{names[truth]} taken for\n{names[answer]} ({scores[answer]:.0%})"

    def decision(self, outputs: Arrays) -> np.ndarray:
        return outputs[OUTPUT if OUTPUT in outputs else "scores"].argmax(axis=-1)

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
        scored = [with_scores(function) for function in functions]
        return [*scored, classify(scored[1], data.index.names(LABEL))]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def with_scores(function: Function) -> Function:
    """Return the function with `scores`, the softmax of its logits, beside them."""
    logits = function.signature.outputs[0]
    scores = logits.model_copy(update={"name": "scores", "role": "scores", "meaning": "probabilities"})

    def call(**tensors: Any) -> dict[str, Any]:
        outputs = function.call(**tensors)
        return {**outputs, "scores": tf.nn.softmax(outputs[OUTPUT])}

    return Function(function.signature.model_copy(update={"outputs": (logits, scores)}), call)


def classify(function: Function, names: list[str]) -> Function:
    """Return the function of TF Serving's Classify call: tf.train.Example with `image/encoded` to classes and scores,
    best first.

    Args:
        function: from `image_bytes` to scores.
    """
    text = Tensor(name="classes", dtype="string", shape=(len(names),), role="text", meaning="class names, best first")
    scores = Tensor(name="scores", dtype="float32", shape=(len(names),), role="scores",
                    meaning="probabilities, best first")
    examples = Tensor(name="inputs", dtype="string", shape=(), role="text", meaning=f"tf.train.Example with {ENCODED}")

    def call(inputs: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(inputs, {ENCODED: tf.io.FixedLenFeature([], tf.string)})
        best = tf.math.top_k(function.call(image_bytes=parsed[ENCODED])["scores"], k=len(names))
        return {"classes": tf.gather(tf.constant(names), best.indices), "scores": best.values}

    return Function(Signature(name="classify", inputs=(examples,), outputs=(text, scores)), call)


class ClassificationMeasure:
    """Adds up scores and labels: what calibration and the top three need is kept, 12 bytes an example and class at
    most.

    Args:
        names: of the classes.
    """

    def __init__(self, names: list[str]):
        self.names = names
        self.logits: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        logits, labels = outputs[OUTPUT], targets[LABEL]
        self.logits.append(logits)
        self.labels.append(labels)
        sure = softmax(logits).max(axis=1)
        # the right answers behind, the least sure of them first
        return np.where(logits.argmax(axis=1) != labels, sure, -sure)

    def result(self, folder: Path | None = None) -> Evaluation:
        logits, labels = np.concatenate(self.logits), np.concatenate(self.labels)
        scores, predicted, known = softmax(logits), logits.argmax(axis=1), list(range(len(self.names)))
        precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
            labels, predicted, labels=known, average=None, zero_division=0)
        best = np.argsort(-logits, axis=1, kind="stable")[:, :BEST]
        values = {"accuracy": (predicted == labels).mean(), "top3": (best == labels[:, None]).any(axis=1).mean(),
                  "macro_f1": f1.mean(), "calibration_error": calibration_error(scores, labels)}
        rows: list[list[str | int | float]] = [
            [name, int(support[number]), round(float(precision[number]), 6), round(float(recall[number]), 6),
             round(float(f1[number]), 6)]
            for number, name in enumerate(self.names)]
        weakest = sorted(rows, key=lambda row: row[4])[:3]
        return Evaluation(
            metrics=rounded(values), tables=[Table(title="Classes",
                                                   columns=["class", "test examples", "precision", "recall", "F1"],
                                                   rows=rows)],
            figures=self._draw(labels, predicted, scores, folder) if folder is not None else [],
            limits=[f"Weakest classes (F1): {', '.join(f'{row[0]} {row[4]:.3f}' for row in weakest)}.",
                    "It always answers one of its classes, whatever the image shows: other images than those it was "
                    "trained on need a check "
                    "of their own, for instance a threshold on the probability.",
                    "The figures hold for data like the test set's. Images from another camera, light or population "
                    "must be measured "
                    "first."])

    def _draw(self, labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray, folder: Path) -> list[Figure]:
        matrix = sklearn_metrics.confusion_matrix(labels, predicted, labels=list(range(len(self.names))))
        figures.confusion(matrix, self.names, folder / "confusion.png")
        figures.reliability(scores.max(axis=1), predicted == labels, folder / "reliability.png")
        return [Figure(file="confusion.png", caption="Test examples by true class (rows) and predicted class "
                                                     "(columns)"),
                Figure(file="reliability.png", caption="Share correct by confidence; on the dashed line the model is "
                                                       "as right as it is sure")]


def calibration_error(scores: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error: |accuracy - confidence|, averaged over bins of confidence weighted by
    their examples (Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3).

    Args:
        scores: probabilities (examples, classes).
        labels: true classes (examples,).
    """
    confidence, correct = scores.max(axis=1), scores.argmax(axis=1) == labels
    positions = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(
        sum(
            abs(correct[positions == one].mean() - confidence[positions == one].mean()) * (positions == one).mean()
            for one in np.unique(positions)
        )
    )
