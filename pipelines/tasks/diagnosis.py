"""What a test for one of two classes is worth: sensitivity, specificity and AUC, each with its confidence interval."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from pipelines.figures import figures
from pipelines.tasks.classes import ClassMeasure, Row, calibration_error, softmax
from pipelines.tasks.evaluation import Evaluation, Figure, Metric, Table

with epy.lazy_imports():
    import numpy as np
    import scipy.stats
    from sklearn import metrics as sklearn_metrics

METRICS = (Metric(name="auc", label="AUC"), Metric(name="sensitivity"), Metric(name="specificity"),
           Metric(name="accuracy", shown=False),
           Metric(name="calibration_error", label="calibration error", better="lower"),
           Metric(name="auc_low", label="AUC, lower end of 95 %", shown=False),
           Metric(name="sensitivity_low", label="sensitivity, lower end of 95 %", shown=False),
           Metric(name="specificity_low", label="specificity, lower end of 95 %", shown=False))
#: Of confidence intervals.
CONFIDENCE = 0.95
#: Sensitivities of which the table of operating points says what they cost.
SENSITIVITIES = (0.9, 0.95, 0.99)
#: The probability from which on an answer is positive: that at which two classes meet.
HALF = 0.5
#: The smallest and the largest threshold: that of an answer which is sure has no logit.
ENDS = (1e-300, 1 - 2**-53)


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class DiagnosisMeasure(ClassMeasure):
    """What a test for one of two classes is worth.

    Args:
        names: of the two classes.
        target: the name of the classes among the targets.
        positive: the number of the class that is looked for.
    """

    def __init__(self, names: list[str], target: str, positive: int):
        super().__init__(names, target)
        self.positive = positive

    def values(self, logits: np.ndarray, labels: np.ndarray, f1: np.ndarray) -> dict[str, Any]:
        scores, ill = self._scored(logits, labels)
        area, (sensitivity, specificity, *_) = area_under_curve(scores, ill), rates(scores, ill, HALF)
        return {"auc": area.value, "sensitivity": sensitivity.value, "specificity": specificity.value,
                "accuracy": (logits.argmax(axis=1) == labels).mean(),
                "calibration_error": calibration_error(softmax(logits.astype(float)), labels), "auc_low": area.low,
                "sensitivity_low": sensitivity.low, "specificity_low": specificity.low}

    def limits(self, rows: Sequence[Row]) -> list[str]:
        name = self.names[self.positive]
        return [f"How often a positive answer is right depends on how common {name} is where the model is used, of "
                "which the test examples say nothing.",
                "It always answers one of its two classes, whatever the image shows.",
                "The figures hold for data like the test set's. Images from another device, site or population must be "
                "measured first."]

    def result(self, folder: Path | None = None) -> Evaluation:
        evaluation = super().result(folder)
        scores, ill = self._scored(np.concatenate(self.logits), np.concatenate(self.labels))
        area, known = area_under_curve(scores, ill), rates(scores, ill, HALF)
        rows: list[Row] = [
            [name, round(one.value, 4), round(one.low, 4), round(one.high, 4)]
            for name, one in zip(("AUC", "sensitivity", "specificity", "positive predictive value",
                                  "negative predictive value"), (area, *known), strict=True)]
        table = Table(title=f"{self.names[self.positive]}: {int(ill.sum()):,} of {len(ill):,} test examples",
                      columns=["of the answers as they are", "value", "95 % from", "to"], rows=rows)
        drawn = list(evaluation.figures)
        if folder is not None and 0 < ill.sum() < len(ill):
            false_positives, true_positives, _ = sklearn_metrics.roc_curve(ill, scores)
            figures.roc(false_positives, true_positives,
                        (1 - known[1].value, known[0].value), folder / "roc.png")
            drawn.append(Figure(file="roc.png", caption=f"Sensitivity over 1 - specificity; AUC {area}; the point is "
                                                        "the answers as they are"))
        return evaluation.model_copy(update={"tables": [table, *evaluation.tables], "figures": drawn})

    def _scored(self, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return softmax(logits.astype(float))[:, self.positive], labels == self.positive


def area_under_curve(scores: np.ndarray, ill: np.ndarray) -> Interval:
    """Return the area under the receiver operating characteristic with its 95 % confidence interval, that of a normal
    distribution on the logit of the area, so that it stays between 0 and 1.

    The variance is DeLong et al., "Comparing the Areas under Two or More Correlated Receiver Operating Characteristic
    Curves", 1988, equations 3 to 5, computed by ranks (Sun and Xu 2014). Where there is no variance, since all pairs
    are in order, or a class has one example, the interval is that of no error among the examples of the smaller class
    (Clopper and Pearson 1934).
    0.5 from 0 to 1 where one class has no example.

    Args:
        scores: of the positive class, (examples,).
        ill: which examples are of it.
    """
    positive, negative = scores[ill], scores[~ill]
    count, others = len(positive), len(negative)
    if not count or not others:
        return Interval(0.5, 0.0, 1.0)
    among_all = scipy.stats.rankdata(np.concatenate([positive, negative]))
    below_positive = (among_all[:count] - scipy.stats.rankdata(positive)) / others
    above_negative = 1 - (among_all[count:] - scipy.stats.rankdata(negative)) / count
    area = float(below_positive.mean())
    variance = sum(float(parts.var(ddof=1)) / len(parts) for parts in (below_positive, above_negative)
                   if len(parts) > 1)
    if not 0 < area < 1 or not variance or min(count, others) < 2:
        least = ((1 - CONFIDENCE) / 2) ** (1 / min(count, others))
        return Interval(area, min(area, least), 1.0) if area >= HALF else Interval(area, 0.0, max(area, 1 - least))
    deviation = variance**0.5 / (area * (1 - area))
    middle = float(np.log(area / (1 - area)))
    width = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2)) * deviation
    low, high = (float(1 / (1 + np.exp(-(middle + side * width)))) for side in (-1, 1))
    return Interval(area, low, high)


def rates(scores: np.ndarray, ill: np.ndarray, threshold: float) -> tuple[Interval, Interval, Interval, Interval]:
    """Return sensitivity, specificity, and the predictive values of a positive and of a negative answer.

    Args:
        scores: of the positive class, (examples,).
        ill: which examples are of it.
        threshold: the score from which on an answer is positive.
    """
    answered = scores >= threshold
    return (share((answered & ill).sum(), ill.sum()), share((~answered & ~ill).sum(), (~ill).sum()),
            share((answered & ill).sum(), answered.sum()), share((~answered & ~ill).sum(), (~answered).sum()))


def share(count: int, total: int) -> Interval:
    """Return a share with its 95 % confidence interval; 0 from 0 to 1 of nothing.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if not total:
        return Interval(0.0, 0.0, 1.0)
    interval = scipy.stats.binomtest(int(count), int(total)).proportion_ci(CONFIDENCE, "wilson")
    return Interval(count / total, float(interval.low), float(interval.high))


def threshold_for(scores: np.ndarray, ill: np.ndarray, sensitivity: float) -> float:
    """Return the largest score from which on at least a share of the positive examples is answered so, half-way to the
    next score below, and within `ENDS`; 0.5 where there are no positive examples."""
    positive = np.sort(scores[ill])
    if not len(positive):
        return HALF
    found = positive[len(positive) - int(np.ceil(sensitivity * len(positive) - 1e-9))]
    below = scores[scores < found]
    return float(np.clip((found + (below.max() if len(below) else 0.0)) / 2, *ENDS))


def operating_points(validation: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Table:
    """Return what thresholds that were chosen on the validation examples give on the test examples.

    Args:
        validation, test: scores of the positive class, and which examples are of it.
    """
    rows: list[Row] = []
    for asked in SENSITIVITIES:
        threshold = threshold_for(*validation, asked)
        found = rates(*test, threshold)
        rows.append([f"sensitivity {asked:g}", round(threshold, 4), *(str(one) for one in found)])
    return Table(title="Operating points of the trained model", rows=rows, columns=[
        "chosen on the validation examples for", "threshold", "sensitivity", "specificity",
        "positive predictive value", "negative predictive value"])
