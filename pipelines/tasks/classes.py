"""What tasks of one class per example share: scores and answers out of logits, and what these are worth."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.signature import Arrays, Function, Tensor
from pipelines.figures import figures
from pipelines.tasks.evaluation import Evaluation, Figure, Table, rounded

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf
    from sklearn import metrics as sklearn_metrics

OUTPUT = "logits"
#: Classes that an answer in words has.
BEST = 3
Row = list[str | int | float]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def in_words(logits: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return the best classes of each example with their probabilities.

    Args:
        logits: (examples, classes).
        names: of the classes; their numbers stand in where there are none.
    """
    lines = []
    for row in softmax(logits):
        best = np.argsort(-row, kind="stable")[:BEST]
        lines.append("  ".join(f"{names[number] if names else number} {row[number]:.1%}" for number in best))
    return lines


def title(logits: np.ndarray, truth: int, names: Sequence[str]) -> str:
    """Return what stands above an example: its class, and what it was taken for.

    Args:
        logits: of one example, (classes,).
    """
    scores = softmax(logits)
    answer = int(scores.argmax())
    if answer == truth:
        return f"{names[answer]} ({scores[answer]:.0%})"
    return f"{names[truth]} taken for\n{names[answer]} ({scores[answer]:.0%})"


def decision(outputs: Arrays) -> np.ndarray:
    """Return the class of each example."""
    return outputs[OUTPUT if OUTPUT in outputs else "scores"].argmax(axis=-1)


def accuracy(target: str) -> Callable[[Any, Any], Any]:
    """Return a function of (targets, outputs) that says which examples are right, for training to watch."""
    return lambda targets, outputs: tf.cast(tf.argmax(targets[target], -1) == tf.argmax(outputs[OUTPUT], -1),
                                            tf.float32)


def with_scores(function: Function) -> Function:
    """Return the function with `scores`, the softmax of its logits, beside them."""
    logits = function.signature.outputs[0]
    scores = logits.model_copy(update={"name": "scores", "role": "scores", "meaning": "probabilities"})

    def call(**tensors: Any) -> dict[str, Any]:
        outputs = function.call(**tensors)
        return {**outputs, "scores": tf.nn.softmax(outputs[OUTPUT])}

    return Function(function.signature.model_copy(update={"outputs": (logits, scores)}), call)


def best_first(function: Function, names: Sequence[str]) -> Function:
    """Return the function of TF Serving's Classify call: classes and scores, the best first.

    Args:
        function: of tf.train.Example messages, `inputs`, to `scores`.
        names: of the classes.
    """
    text = Tensor(name="classes", dtype="string", shape=(len(names),), role="text", meaning="class names, best first")
    scores = Tensor(name="scores", dtype="float32", shape=(len(names),), role="scores",
                    meaning="probabilities, best first")

    def call(inputs: Any) -> dict[str, Any]:
        best = tf.math.top_k(function.call(inputs=inputs)["scores"], k=len(names))
        return {"classes": tf.gather(tf.constant(list(names)), best.indices), "scores": best.values}

    return Function(function.signature.model_copy(update={"outputs": (text, scores)}), call)


class ClassMeasure:
    """Adds up logits and classes, 4 bytes an example and class, of which a task makes its metrics.

    Args:
        names: of the classes.
        target: the name of the classes among the targets.
    """

    def __init__(self, names: Sequence[str], target: str):
        self.names = list(names)
        self.target = target
        self.logits: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def values(self, logits: np.ndarray, labels: np.ndarray, f1: np.ndarray) -> dict[str, Any]:
        """Return the metrics by name.

        Args:
            logits: (examples, classes).
            labels: true classes, (examples,).
            f1: of each class, (classes,).
        """
        raise NotImplementedError

    def limits(self, rows: Sequence[Row]) -> list[str]:
        """Return sentences for the model card.

        Args:
            rows: of each class its name, test examples, precision, recall and F1.
        """
        raise NotImplementedError

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        logits, labels = outputs[OUTPUT], targets[self.target]
        self.logits.append(logits)
        self.labels.append(labels)
        sure = softmax(logits).max(axis=1)
        # the right answers behind, the least sure of them first
        return np.where(logits.argmax(axis=1) != labels, sure, -sure)

    def result(self, folder: Path | None = None) -> Evaluation:
        logits, labels = np.concatenate(self.logits), np.concatenate(self.labels)
        predicted, known = logits.argmax(axis=1), list(range(len(self.names)))
        precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
            labels, predicted, labels=known, average=None, zero_division=0)
        rows: list[Row] = [
            [name, int(support[number]), round(float(precision[number]), 6), round(float(recall[number]), 6),
             round(float(f1[number]), 6)]
            for number, name in enumerate(self.names)]
        table = Table(title="Classes", columns=["class", "test examples", "precision", "recall", "F1"], rows=rows)
        drawn = self._draw(labels, predicted, softmax(logits), folder) if folder is not None else []
        return Evaluation(metrics=rounded(self.values(logits, labels, f1)), tables=[table], figures=drawn,
                          limits=self.limits(rows))

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
