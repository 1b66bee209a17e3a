"""Drawings of forecasts: over the truth, and window by window."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from models.series import FORECAST
from pipelines.figures import figures
from pipelines.ingest.sources.series_source import FUTURE, PAST, SeriesSource
from pipelines.tasks.answered import Answered
from pipelines.tasks.forecasting.measure import middle
from pipelines.tasks.task import Figure

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

#: Variables that are drawn, windows of the test split that are asked for it, and forecasts that are drawn whole.
DRAWN, MOST, WHOLE = 4, 2000, 4


def over_truth(predictor: Predictor, data: Data, quantiles: Sequence[float], folder: Path) -> list[Figure]:
    """Draw the forecasts of the first test series over what came: the first step ahead of every window with the band of
    its quantiles, and some forecasts whole. Return the figure."""
    source = data.section.source
    assert isinstance(source, SeriesSource)
    cut = source.cut()
    owners = cut.windows.owners["test"]
    positions = np.flatnonzero(owners == owners[0])[:MOST]
    before = sum(len(one.times) for one in cut.series[:int(owners[0])])
    one = cut.series[int(owners[0])]
    origins = cut.windows.starts["test"][positions] - before + cut.windows.length
    inputs, _ = data.arrays("test", positions.tolist())
    answers = predictor.predict(inputs)[FORECAST]
    points = middle(answers, quantiles)
    variables = min(DRAWN, len(cut.targets))
    figure = figures.new_figure(9, 2.4 * variables)
    whole = np.unique(np.linspace(0, len(origins) - 1, WHOLE if source.horizon > 1 else 0).astype(int))
    for number in range(variables):
        axes = figure.add_subplot(variables, 1, number + 1)
        start = max(0, int(origins[0]) - source.window)
        axes.plot(one.times[start:], one.values[start:, cut.targets[number]], color="black", linewidth=1)
        axes.axvline(one.times[origins[0]], color="gray", linewidth=1, linestyle="--")
        first = one.times[origins]
        if len(quantiles) > 1:
            axes.fill_between(first, answers[:, 0, number, 0], answers[:, 0, number, -1], color=figures.COLORS[0],
                              alpha=0.25, linewidth=0)
        axes.plot(first, points[:, 0, number], color=figures.COLORS[0], linewidth=1)
        for position in whole:
            ahead = one.times[origins[position]:origins[position] + source.horizon]
            axes.plot(ahead, points[position, :, number], color=figures.COLORS[1], linewidth=1)
            if len(quantiles) > 1:
                axes.fill_between(ahead, answers[position, :, number, 0], answers[position, :, number, -1],
                                  color=figures.COLORS[1], alpha=0.15, linewidth=0)
        axes.set_title(cut.columns[cut.targets[number]], fontsize=8)
        axes.tick_params(labelsize=7)
    figures.save(figure, folder / "forecasts.png")
    bands = f", with the band between the quantiles {quantiles[0]:g} and {quantiles[-1]:g}" if len(
        quantiles) > 1 else ""
    return [Figure(file="forecasts.png", caption=f"What came (black), the first step ahead at each origin (blue) and "
                                                 f"some whole forecasts (orange){bands}")]


def window(axes: Axes, past: np.ndarray, future: np.ndarray) -> None:
    """Draw the first variable of what was seen, and what came behind it."""
    seen, ahead = len(past), len(future)
    axes.plot(range(seen), past[:, 0], color="gray", linewidth=0.8)
    axes.plot(range(seen, seen + ahead), future[:, 0], color="black", linewidth=1, marker="o" if ahead == 1 else None,
              markersize=2)
    axes.tick_params(labelsize=5)


def answers(examples: Sequence[Answered], quantiles: Sequence[float], path: Path) -> None:
    """Draw windows with what was forecast of them in a row, each under how good it is."""
    columns = max(1, min(3, len(examples)))
    rows = max(1, -(-len(examples) // columns))
    figure = figures.new_figure(3 * columns, 2.1 * rows)
    for number, one in enumerate(examples):
        axes = figure.add_subplot(rows, columns, number + 1)
        past, future = one.inputs[PAST][0], one.targets[FUTURE][0]
        window(axes, past, future)
        steps = range(len(past), len(past) + len(future))
        given = one.outputs[FORECAST][0]
        axes.plot(steps, middle(given, quantiles)[:, 0], color=figures.COLORS[0], linewidth=1,
                  marker="o" if len(future) == 1 else None, markersize=2)
        if len(quantiles) > 1:
            axes.fill_between(steps, given[:, 0, 0], given[:, 0, -1], color=figures.COLORS[0], alpha=0.25, linewidth=0)
        axes.set_title(f"{one.rank} MASE {one.wrong:.2f}".strip(), fontsize=8)
    figures.save(figure, path)
