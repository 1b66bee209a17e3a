"""What forecasts are worth."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.figures import figures
from pipelines.tasks.task import Evaluation, Figure, Metric, Table, rounded

with epy.lazy_imports():
    import numpy as np

#: The first is the main one: it compares series of whatever units, and says 1 of a seasonal naive forecast within the
#: training part.
POINT = (Metric(name="mase", label="MASE", better="lower", relative=True),
         Metric(name="mae", label="MAE", better="lower", relative=True),
         Metric(name="rmse", label="RMSE", better="lower", relative=True),
         Metric(name="smape", label="sMAPE", better="lower", relative=True, shown=False))
QUANTILE = (Metric(name="pinball", label="pinball loss", better="lower", relative=True),
            Metric(name="coverage", label="coverage"))


class ForecastMeasure:
    """Adds up errors, step by step of the horizon; nothing grows with the test set.

    Args:
        quantiles: that a model answers, ascending; none where it answers one number.
        forecast, future, scale: the names of the output, of the truth, and of what MASE divides errors by.
    """

    def __init__(self, quantiles: Sequence[float] = (), forecast: str = "forecast", future: str = "future",
                 scale: str = "scale"):
        self.quantiles = list(quantiles)
        self.forecast, self.future, self.scale = forecast, future, scale
        self.count = 0
        self.sums: dict[str, np.ndarray] = {}

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take forecasts (batch, horizon, targets) or, of quantiles, (batch, horizon, targets, quantiles); return the
        scaled error of each window."""
        truth = targets[self.future].astype(float)
        answers = outputs[self.forecast].astype(float)
        point = middle(answers, self.quantiles)
        error = np.abs(truth - point)
        scaled = error / targets[self.scale].astype(float)[:, None, :]
        size = np.abs(truth) + np.abs(point)
        self.count += len(truth)
        self._sum("mase", scaled)
        self._sum("mae", error)
        self._sum("rmse", error**2)
        self._sum("smape", 200 * error / np.where(size > 0, size, 1))
        if self.quantiles:
            levels, below = np.array(self.quantiles), truth[..., None] - answers
            self._sum("pinball", np.maximum(levels * below, (levels - 1) * below).mean(axis=-1))
            self._sum("coverage", (truth >= answers[..., 0]) & (truth <= answers[..., -1]))
        return scaled.mean(axis=(1, 2))

    def by_step(self, name: str) -> np.ndarray:
        """Return a metric at each step of the horizon, (horizon,)."""
        means = self.sums[name].mean(axis=1) / self.count
        return np.sqrt(means) if name == "rmse" else means

    def result(self, folder: Path | None = None) -> Evaluation:
        means = {name: float(sums.mean()) / self.count for name, sums in self.sums.items()}
        metrics = means | {"rmse": means["rmse"]**0.5}
        horizon = len(self.sums["mase"])
        shown = [metric for metric in (*POINT, *QUANTILE) if metric.name in metrics]
        table = Table(title="By step of the horizon", columns=["step", *(metric.title for metric in shown)],
                      rows=[[str(step + 1), *(float(f"{self.by_step(metric.name)[step]:.4g}") for metric in shown)]
                            for step in range(horizon)])
        limits = ["The figures hold for the time that was tested on; where a series comes to behave in another way, "
                  "they do not."]
        if self.quantiles:
            low, high = self.quantiles[0], self.quantiles[-1]
            limits.append(f"{metrics['coverage']:.0%} of the test values lie between the quantiles {low:g} and "
                          f"{high:g}, which is to be {high - low:.0%}.")
        drawn = []
        if folder is not None and horizon > 1:
            draw_steps(self.by_step("mase"), folder / "steps.png")
            drawn.append(Figure(file="steps.png", caption="The scaled error by step of the horizon"))
        return Evaluation(metrics=rounded(metrics), tables=[table], figures=drawn, limits=limits)

    def _sum(self, name: str, values: np.ndarray) -> None:
        self.sums[name] = self.sums.get(name, 0) + values.sum(axis=0)


def middle(answers: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Return point forecasts (batch, horizon, targets): of quantiles the one nearest to the median."""
    if not len(quantiles):
        return answers
    return answers[..., int(np.argmin(np.abs(np.array(quantiles) - 0.5)))]


def draw_steps(values: np.ndarray, path: Path) -> None:
    """Draw an error over the steps of the horizon."""
    figure = figures.new_figure(5, 3)
    axes = figure.add_subplot()
    axes.plot(np.arange(1, len(values) + 1), values, marker="o", markersize=3, color=figures.COLORS[0])
    axes.axhline(1, color="gray", linewidth=1, linestyle="--")
    axes.set(xlabel="steps ahead", ylabel="MASE", ylim=(0, None))
    figures.save(figure, path)
