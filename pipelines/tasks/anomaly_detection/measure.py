"""What scores of windows are worth."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.figures import figures
from pipelines.tasks.task import Evaluation, Figure, Metric, Table, rounded

with epy.lazy_imports():
    import numpy as np
    from sklearn import metrics as sklearn_metrics

METRICS = (Metric(name="auc", label="AUC"), Metric(name="f1", label="F1"),
           Metric(name="precision", label="precision", shown=False), Metric(name="recall", label="recall", shown=False),
           Metric(name="delay", label="delay in windows", better="lower"),
           Metric(name="found", label="share of anomalies found", shown=False))
#: A score above this is an anomaly: models divide by their threshold.
THRESHOLD = 1.0
#: Anomalies that the table lists.
LISTED = 50


class AnomalyMeasure:
    """Collects scores, labels and whose window it is, 17 bytes a window, series by series, in the order of time.

    Args:
        score, label, owner: the names of the output and of the targets.
    """

    def __init__(self, score: str = "score", label: str = "label", owner: str = "owner"):
        self.score, self.label, self.owner = score, label, owner
        self.scores: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.owners: list[np.ndarray] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        scores, labels = outputs[self.score].astype(float), targets[self.label].astype(bool)
        self.scores.append(scores)
        self.labels.append(labels)
        self.owners.append(targets[self.owner])
        return np.where(labels, THRESHOLD - scores, scores - THRESHOLD)

    def result(self, folder: Path | None = None) -> Evaluation:
        scores, labels, owners = map(np.concatenate, (self.scores, self.labels, self.owners))
        alarms = scores > THRESHOLD
        both = labels.any() and not labels.all()
        stretches = anomalies(labels, alarms, owners)
        precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
            labels, alarms, average="binary", zero_division=0)
        metrics = {"auc": sklearn_metrics.roc_auc_score(labels, scores) if both else 0.5, "f1": f1,
                   "precision": precision, "recall": recall,
                   "delay": _mean(length if delay is None else delay for _, length, delay in stretches),
                   "found": _mean(delay is not None for _, _, delay in stretches)}
        rows: list[list[str | int | float]] = [[f"window {first}", length, "missed" if delay is None else str(delay)]
                                               for first, length, delay in stretches[:LISTED]]
        drawn = []
        if folder is not None:
            draw_scores(scores, labels, owners, folder / "scores.png")
            drawn.append(Figure(file="scores.png", caption="The score of each test window in the order of time, the "
                                                           "threshold, and what is labelled as an anomaly (red)"))
        return Evaluation(
            metrics=rounded(metrics), figures=drawn,
            tables=[Table(title="Anomalies of the test set", columns=["from", "windows", "until it was found"],
                          rows=rows)],
            limits=[f"{int(labels.sum()):,} of {len(labels):,} test windows end in an anomaly, in {len(stretches)} "
                    f"stretch{'es' if len(stretches) != 1 else ''}; anomalies of other kinds may be missed.",
                    f"{(alarms & ~labels).sum() / max(1, (~labels).sum()):.2%} of the ordinary windows are taken for "
                    "anomalies."])


def _mean(values: Iterable[float]) -> float:
    listed = [float(value) for value in values]
    return sum(listed) / max(1, len(listed))


def anomalies(labels: np.ndarray, alarms: np.ndarray, owners: np.ndarray) -> list[tuple[int, int, int | None]]:
    """Return of each stretch of labelled windows the first, how many there are, and after how many there was an alarm;
    None where there was none. A stretch ends with its series.

    Args:
        owners: a number for the series of each window.
    """
    goes_on = labels[1:] & labels[:-1] & (owners[1:] == owners[:-1])
    firsts = np.flatnonzero(labels & ~np.concatenate([[False], goes_on]))
    lasts = np.flatnonzero(labels & ~np.concatenate([goes_on, [False]]))
    result: list[tuple[int, int, int | None]] = []
    for first, behind in zip(firsts.tolist(), (lasts + 1).tolist(), strict=True):
        raised = np.flatnonzero(alarms[first:behind])
        result.append((first, behind - first, int(raised[0]) if len(raised) else None))
    return result


def draw_scores(scores: np.ndarray, labels: np.ndarray, owners: np.ndarray, path: Path) -> None:
    """Draw scores over time, the threshold, and the stretches that are labelled."""
    figure = figures.new_figure(9, 3)
    axes = figure.add_subplot()
    axes.plot(scores, color=figures.COLORS[0], linewidth=0.8)
    axes.axhline(THRESHOLD, color="gray", linewidth=1, linestyle="--")
    for first, length, _ in anomalies(labels, labels, owners):
        axes.axvspan(first, first + length, color=figures.COLORS[4], alpha=0.3)
    axes.set(xlabel="window", ylabel="score", ylim=(0, None))
    figures.save(figure, path)
