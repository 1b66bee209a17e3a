"""What a model of a number is worth."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.figures import figures
from pipelines.tasks.task import Evaluation, Figure, Metric, rounded

with epy.lazy_imports():
    import numpy as np
    from sklearn import metrics as sklearn_metrics

METRICS = (Metric(name="rmse", label="RMSE", better="lower", relative=True),
           Metric(name="mae", label="MAE", better="lower", relative=True), Metric(name="r2", label="R²"))


class RegressionMeasure:
    """Adds up answers and truths, 8 bytes an example.

    Args:
        target: the name of the number among the targets.
    """

    def __init__(self, target: str):
        self.target = target
        self.values: list[np.ndarray] = []
        self.truths: list[np.ndarray] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        values, truths = outputs["value"], targets[self.target]
        self.values.append(values)
        self.truths.append(truths)
        return np.abs(values - truths)

    def result(self, folder: Path | None = None) -> Evaluation:
        values, truths = (np.concatenate(parts).astype(float) for parts in (self.values, self.truths))
        metrics = {"rmse": sklearn_metrics.root_mean_squared_error(truths, values),
                   "mae": sklearn_metrics.mean_absolute_error(truths, values),
                   "r2": sklearn_metrics.r2_score(truths, values) if len(truths) > 1 else 0.0}
        low, high = truths.min(), truths.max()
        drawn = []
        if folder is not None:
            draw_residuals(values, truths, folder / "residuals.png")
            drawn.append(Figure(file="residuals.png", caption="What is true against what is answered, and how far the "
                                                              "answers are off"))
        return Evaluation(
            metrics=rounded(metrics), figures=drawn,
            limits=[f"The test set's values lie between {low:.6g} and {high:.6g}; beyond them nothing is known.",
                    "The figures hold for rows like those of the test set: from the same time, place and way of "
                    "measuring."])


def draw_residuals(values: np.ndarray, truths: np.ndarray, path: Path) -> None:
    """Draw the truth against the answers, and the distribution of answer less truth."""
    figure = figures.new_figure(9, 3.8)
    axes = figure.add_subplot(1, 2, 1)
    ends = [min(values.min(), truths.min()), max(values.max(), truths.max())]
    axes.plot(ends, ends, color="gray", linewidth=1, linestyle="--")
    axes.scatter(values, truths, s=12, alpha=0.6, color=figures.COLORS[0])
    axes.set(xlabel="answered", ylabel="true")
    axes = figure.add_subplot(1, 2, 2)
    axes.hist(values - truths, bins=30, color=figures.COLORS[0])
    axes.axvline(0, color="gray", linewidth=1, linestyle="--")
    axes.set(xlabel="answered - true", ylabel="rows")
    figures.save(figure, path)
