"""What a classifier of rows is worth."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

from pipelines.tasks.classes import ClassMeasure, Row, calibration_error, softmax
from pipelines.tasks.evaluation import Metric

with epy.lazy_imports():
    import numpy as np
    from sklearn import metrics as sklearn_metrics

METRICS = (Metric(name="auc", label="AUC"), Metric(name="accuracy"),
           Metric(name="log_loss", label="log loss", better="lower", relative=True),
           Metric(name="calibration_error", label="calibration error", better="lower", shown=False))


class TableClassMeasure(ClassMeasure):
    """What a classifier of rows is worth. Of two classes the second is the positive one."""

    def values(self, logits: np.ndarray, labels: np.ndarray, f1: np.ndarray) -> dict[str, Any]:
        scores = softmax(logits.astype(float))
        return {"auc": auc(scores, labels), "accuracy": (scores.argmax(axis=1) == labels).mean(),
                "log_loss": sklearn_metrics.log_loss(labels, scores, labels=list(range(len(self.names)))),
                "calibration_error": calibration_error(scores, labels)}

    def limits(self, rows: Sequence[Row]) -> list[str]:
        return ["The figures hold for rows like those of the test set: from the same time, place and way of measuring.",
                "A word that the training data do not have counts as unknown, and a missing number as the usual one: "
                "rows with many of them are guessed."]


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
