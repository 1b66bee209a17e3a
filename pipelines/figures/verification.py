"""How verification trades false acceptances for false rejections."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from pipelines.figures import figures

with epy.lazy_imports():
    import numpy as np


def roc(far: np.ndarray, tar: np.ndarray, at: float, path: Path) -> None:
    """Draw true acceptances over false ones, on a logarithmic axis as low rates matter.

    Args:
        far, tar: shares, (thresholds,).
        at: the share of false acceptances to mark.
    """
    figure = figures.new_figure(4.2, 3.4)
    axes = figure.add_subplot()
    smallest = min(at, float(far[far > 0].min(initial=1.0)))
    axes.step(np.maximum(far, smallest), tar, where="post", color=figures.COLORS[0])
    axes.axvline(at, color=figures.COLORS[1], linestyle="--", linewidth=0.8)
    axes.set(xscale="log", xlim=(smallest, 1), ylim=(0, 1.02), xlabel="false acceptances", ylabel="true acceptances")
    axes.grid(alpha=0.3)
    figures.save(figure, path)


def cosines(alike: np.ndarray, other: np.ndarray, threshold: float, path: Path) -> None:
    """Draw how the cosines of pairs of one identity and of two are distributed, and a threshold."""
    figure = figures.new_figure(4.2, 3.4)
    axes = figure.add_subplot()
    edges = np.linspace(min(alike.min(), other.min()), max(alike.max(), other.max()) + 1e-6, 60)
    for values, label, color in ((other, "two", figures.COLORS[1]), (alike, "one", figures.COLORS[0])):
        axes.hist(values, edges.tolist(), density=True, alpha=0.6, color=color, label=f"of {label}")
    axes.axvline(threshold, color="black", linestyle="--", linewidth=0.8)
    axes.set(xlabel="cosine of a pair", yticks=[])
    axes.legend(frameon=False)
    figures.save(figure, path)
