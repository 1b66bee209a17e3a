"""The figures of compression: where along the network an integer file loses, and what each trial of a search costs."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.tflite.explain import LayerError, worst
from pipelines.figures.figures import COLORS, new_figure, save

with epy.lazy_imports():
    import numpy as np


def layers(errors: Sequence[LayerError], path: Path) -> None:
    """Draw the signal to noise ratio along the network, and what each operator adds to the noise; the three that add
    most are named."""
    figure = new_figure(12, 5.5)
    above, below = figure.add_subplot(2, 1, 1), figure.add_subplot(2, 1, 2)
    positions = np.arange(len(errors))
    operators = dict.fromkeys(error.operator for error in errors)
    colors = {operator: COLORS[number % len(COLORS)] for number, operator in enumerate(operators)}
    above.plot(positions, [error.sqnr for error in errors], color="gray", linewidth=1)
    for operator, color in colors.items():
        own = [position for position, error in enumerate(errors) if error.operator == operator]
        above.scatter(own, [errors[position].sqnr for position in own], color=color, s=18, zorder=3, label=operator)
    above.set_ylabel("SQNR in dB")
    above.legend(frameon=False, fontsize=7, ncols=4)
    below.bar(positions, [error.added for error in errors], color=[colors[error.operator] for error in errors])
    below.set_ylabel("noise added / signal")
    below.set_xlabel("operators, from input to output")
    for error in worst(errors):
        position = errors.index(error)
        below.annotate(f"{error.number} {error.name}", (position, error.added), fontsize=7, ha="center", va="bottom")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_xlim(-1, len(errors))
    below.margins(y=0.15)
    save(figure, path)


def trials(rungs: Sequence[Mapping[str, Any]], limit: float, path: Path) -> None:
    """Draw what each trial costs: its drop against its size; the limit as a line.

    Args:
        rungs: the trials, each with `rung`, `drop` and `bytes`.
        limit: the largest drop that passes.
    """
    figure = new_figure(8, 3.6)
    axes = figure.add_subplot()
    for number, trial in enumerate(rungs):
        color = COLORS[number % len(COLORS)]
        axes.scatter(trial["bytes"] / 1000, 100 * trial["drop"], color=color, s=50, zorder=3, label=trial["rung"])
    axes.axhline(100 * limit, color="gray", linestyle="--", linewidth=1)
    axes.set(xlabel="size in kB", ylabel="drop on the validation split, points")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.3)
    axes.margins(0.2)
    save(figure, path)
