"""Image classification: one class per picture. Any predictor is measured here, by the same code."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from etils import epy
from pydantic import BaseModel

from export.predictors import IMAGE, LOGITS, Predictor

with epy.lazy_imports():
    import numpy as np
    from sklearn import metrics as sklearn_metrics

#: The metric that `drop` is about.
MAIN_METRIC = "accuracy"


class ClassReport(BaseModel):
    """How well one class is told from the others; fractions."""

    name: str
    examples: int
    precision: float
    recall: float
    f1: float


class Evaluation(BaseModel):
    """What a predictor does on a set of examples. Metrics are fractions.

    Args:
        metrics: accuracy, top3 (the true class among the three best), macro_f1, calibration_error.
        confusion: true class (row) to predicted class (column) to number of examples.
    """

    metrics: dict[str, float]
    classes: list[ClassReport]
    confusion: list[list[int]]


@dataclasses.dataclass(frozen=True)
class Answers:
    """The logits (examples, classes) of a predictor and the labels (examples,) of the same examples."""

    logits: np.ndarray
    labels: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Softmax of the logits."""
        shifted = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    @property
    def predicted(self) -> np.ndarray:
        return self.logits.argmax(axis=1)


def ask(predictor: Predictor, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Answers:
    """The predictor's answers on batches of (uint8 pictures, labels)."""
    logits, labels = [], []
    for images, own_labels in batches:
        logits.append(predictor.predict({IMAGE: images})[LOGITS])
        labels.append(own_labels)
    return Answers(np.concatenate(logits), np.concatenate(labels))


def measure(answers: Answers, names: list[str]) -> Evaluation:
    """The metrics of a predictor's answers, with scikit-learn where it has them."""
    labels, predicted, known = answers.labels, answers.predicted, list(range(len(names)))
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=known, average=None, zero_division=0)
    best = np.argsort(-answers.logits, axis=1, kind="stable")[:, :3]
    values = {"accuracy": (predicted == labels).mean(), "top3": (best == labels[:, None]).any(axis=1).mean(),
              "macro_f1": f1.mean(), "calibration_error": calibration_error(answers)}
    return Evaluation(
        metrics={name: round(float(value), 6) for name, value in values.items()},
        classes=[ClassReport(name=name, examples=int(support[number]), precision=round(float(precision[number]), 6),
                             recall=round(float(recall[number]), 6), f1=round(float(f1[number]), 6))
                 for number, name in enumerate(names)],
        confusion=sklearn_metrics.confusion_matrix(labels, predicted, labels=known).tolist())


def calibration_error(answers: Answers, bins: int = 15) -> float:
    """Expected calibration error: |accuracy - confidence|, averaged over bins of confidence weighted by their examples
    (Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3)."""
    confidence, correct = answers.scores.max(axis=1), answers.predicted == answers.labels
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(sum(abs(correct[places == place].mean() - confidence[places == place].mean()) * (places == place).mean()
                     for place in np.unique(places)))
