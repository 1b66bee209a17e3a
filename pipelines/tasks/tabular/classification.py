"""What a classifier of rows is worth."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.figures import figures
from pipelines.tasks.image_classification import calibration_error, softmax
from pipelines.tasks.task import Evaluation, Figure, Metric, Table, rounded

with epy.lazy_imports():
    import numpy as np
    from sklearn import metrics as sklearn_metrics

METRICS = (Metric(name="auc", label="AUC"), Metric(name="accuracy"),
           Metric(name="log_loss", label="log loss", better="lower", relative=True),
           Metric(name="calibration_error", label="calibration error", better="lower", shown=False))


class ClassificationMeasure:
    """Adds up logits and classes, 4 bytes an example and class.

    Args:
        names: of the classes; of two the second is the positive one.
        target: the name of the classes among the targets.
    """

    def __init__(self, names: Sequence[str], target: str):
        self.names = list(names)
        self.target = target
        self.logits: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        logits, labels = outputs["logits"], targets[self.target]
        self.logits.append(logits)
        self.labels.append(labels)
        sure = softmax(logits).max(axis=1)
        return np.where(logits.argmax(axis=1) != labels, sure, -sure)

    def result(self, folder: Path | None = None) -> Evaluation:
        logits, labels = np.concatenate(self.logits).astype(float), np.concatenate(self.labels)
        scores, predicted, known = softmax(logits), logits.argmax(axis=1), list(range(len(self.names)))
        values = {"auc": auc(scores, labels), "accuracy": (predicted == labels).mean(),
                  "log_loss": sklearn_metrics.log_loss(labels, scores, labels=known),
                  "calibration_error": calibration_error(scores, labels)}
        precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
            labels, predicted, labels=known, average=None, zero_division=0)
        rows: list[list[str | int | float]] = [
            [name, int(support[number]), round(float(precision[number]), 6), round(float(recall[number]), 6),
             round(float(f1[number]), 6)] for number, name in enumerate(self.names)]
        table = Table(title="Classes", columns=["class", "test examples", "precision", "recall", "F1"], rows=rows)
        return Evaluation(
            metrics=rounded(values), tables=[table],
            figures=self._draw(labels, predicted, scores, folder) if folder is not None else [],
            limits=["The figures hold for rows like those of the test set: from the same time, place and way of "
                    "measuring.",
                    "A word that the training data do not have counts as unknown, and a missing number as the usual "
                    "one: rows with many of them are guessed."])

    def _draw(self, labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray, folder: Path) -> list[Figure]:
        matrix = sklearn_metrics.confusion_matrix(labels, predicted, labels=list(range(len(self.names))))
        figures.confusion(matrix, self.names, folder / "confusion.png")
        figures.reliability(scores.max(axis=1), predicted == labels, folder / "reliability.png")
        return [Figure(file="confusion.png", caption="Test rows by true class (rows) and predicted class (columns)"),
                Figure(file="reliability.png", caption="Share correct by confidence; on the dashed line the model is "
                                                       "as right as it is sure")]


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the area under the receiver operating characteristic: of two classes that of the second, of more the mean
    over each class against all others, as scikit-learn has it.

    Classes without examples, or that all examples have, are left out; where none is left it is 0.5, which says nothing.

    Args:
        scores: probabilities, (examples, classes).
        labels: true classes, (examples,).
    """
    positive = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    areas = [sklearn_metrics.roc_auc_score(labels == one, scores[:, one]) for one in positive
             if 0 < (labels == one).sum() < len(labels)]
    return float(np.mean(areas)) if areas else 0.5
