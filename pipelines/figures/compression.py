"""The pictures of compression: where along the network an integer file loses, and what each rung of a ladder costs."""
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
    """The signal to noise ratio along the network, and what each operator adds to the noise; the three that add most are named."""
    figure = new_figure(12, 5.5)
    above, below = figure.add_subplot(2, 1, 1), figure.add_subplot(2, 1, 2)
    places = np.arange(len(errors))
    kinds = {kind: COLORS[number % len(COLORS)] for number, kind in enumerate(dict.fromkeys(one.operator for one in errors))}
    above.plot(places, [one.sqnr for one in errors], color="gray", linewidth=1)
    for kind, color in kinds.items():
        own = [place for place, one in enumerate(errors) if one.operator == kind]
        above.scatter(own, [errors[place].sqnr for place in own], color=color, s=18, zorder=3, label=kind)
    above.set_ylabel("SQNR in dB")
    above.legend(frameon=False, fontsize=7, ncols=4)
    below.bar(places, [one.added for one in errors], color=[kinds[one.operator] for one in errors])
    below.set_ylabel("noise added / signal")
    below.set_xlabel("operators, from input to output")
    for one in worst(errors):
        place = errors.index(one)
        below.annotate(f"{one.number} {one.name}", (place, one.added), fontsize=7, ha="center", va="bottom")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_xlim(-1, len(errors))
    below.margins(y=0.15)
    save(figure, path)


def ladder(rungs: Sequence[Mapping[str, Any]], limit: float, path: Path) -> None:
    """What each rung that was tried costs: its drop against its size; the limit as a line.

    Args:
        rungs: each with `rung`, `drop` and `bytes`.
        limit: the largest drop that passes.
    """
    figure = new_figure(8, 3.6)
    axes = figure.add_subplot()
    for number, one in enumerate(rungs):
        axes.scatter(one["bytes"] / 1000, 100 * one["drop"], color=COLORS[number % len(COLORS)], s=50, zorder=3, label=one["rung"])
    axes.axhline(100 * limit, color="gray", linestyle="--", linewidth=1)
    axes.set(xlabel="size in kB", ylabel="drop on the validation split, points")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.3)
    axes.margins(0.2)
    save(figure, path)
