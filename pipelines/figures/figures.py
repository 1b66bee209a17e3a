"""The figures of the report: each function draws one PNG file."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

with epy.lazy_imports():
    import matplotlib
    import matplotlib.figure
    import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04")


def grid(drawings: Sequence[Callable[[Axes], None]], path: Path, columns: int = 5) -> None:
    """Draw examples in a grid, each by a function of its axes."""
    rows = max(1, -(-len(drawings) // columns))
    figure = new_figure(columns * 1.5, rows * 1.75)
    for number, draw in enumerate(drawings):
        draw(figure.add_subplot(rows, columns, number + 1))
    save(figure, path)


def curves(series: Mapping[str, Mapping[int, float]], watched: Sequence[tuple[str, str]], path: Path) -> None:
    """Draw the loss, each watched metric and the learning rate over the epochs, in a panel of its own.

    Args:
        series: name to epoch to value.
        watched: name and title of each metric.
    """
    panels = [("loss", ("loss", "val_loss")), *((title, (name, f"val_{name}")) for name, title in watched),
              ("learning rate", ("learning_rate",))]
    figure = new_figure(4 * len(panels), 3.2)
    for number, (title, names) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for color, name in zip(COLORS, names, strict=False):
            points = series.get(name, {})
            axes.plot([step + 1 for step in points], list(points.values()), color=color,
                      label="validation" if name.startswith("val_") else "training")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(frameon=False)
    save(figure, path)


def confusion(matrix: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Draw counts of true class (rows) against predicted class (columns)."""
    side = max(4.0, min(14.0, 0.45 * len(classes) + 2))
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(classes) <= 40:
        axes.set_xticks(range(len(classes)), classes, rotation=90 if max(map(len, classes)) > 2 else 0)
        axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= 20:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                axes.text(column, row, f"{count}", ha="center", va="center", fontsize=8,
                          color="white" if count > 0.5 * matrix[row].sum() else "black")
    save(figure, path)


def reliability(confidence: np.ndarray, correct: np.ndarray, path: Path, bins: int = 15) -> None:
    """Draw how often the model is right against how sure it is, by bins of confidence."""
    edges = np.linspace(0, 1, bins + 1)
    bins_of = np.clip(np.digitize(confidence, edges) - 1, 0, bins - 1)
    figure = new_figure(4, 4)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle="--")
    filled = [number for number in range(bins) if (bins_of == number).any()]
    axes.bar([(edges[number] + edges[number + 1]) / 2 for number in filled],
             [correct[bins_of == number].mean() for number in filled], width=1 / bins, color=COLORS[0],
             edgecolor="white")
    axes.set_xlabel("confidence")
    axes.set_ylabel("share correct")
    save(figure, path)


def roc(false_positives: np.ndarray, true_positives: np.ndarray, at: tuple[float, float], path: Path) -> None:
    """Draw a receiver operating characteristic.

    Args:
        at: the point to mark.
    """
    figure = new_figure(4.0, 3.6)
    axes = figure.add_subplot()
    axes.plot(false_positives, true_positives, color=COLORS[0])
    axes.plot([0, 1], [0, 1], "--", color="#9ca3af", linewidth=1)
    axes.plot(*at, "o", color=COLORS[1])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="sensitivity")
    axes.grid(alpha=0.3)
    save(figure, path)


def errors(counts: Mapping[str, Sequence[int]], edges: np.ndarray, path: Path) -> None:
    """Draw the distribution of |output - output of the trained model| over all examples, one line per artifact, on a
    log scale.

    Args:
        counts: artifact to the number of differences in each bin.
        edges: of the bins, one more than there are.
    """
    figure = new_figure(8, 3.6)
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(counts.items()):
        axes.stairs(values, edges, linewidth=1.5, label=name, color=COLORS[number % len(COLORS)])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("difference of an output from the trained model's")
    axes.set_ylabel("outputs")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    save(figure, path)


def pareto(points: Sequence[tuple[str, float, float, float]], metric: str, path: Path) -> None:
    """Draw the metric of artifacts (name, metric, bytes, latency in ms) against their size and against their
    latency."""
    figure = new_figure(10, 3.6)
    panels = (("size in kB", [size / 1000 for _, _, size, _ in points]),
              ("latency p50 in ms", [time for *_, time in points]))
    values = [value for _, value, _, _ in points]
    margin = 0.01 if max(map(abs, values)) <= 1 else 0.05 * max(map(abs, values))
    for panel, (label, positions) in enumerate(panels):
        axes = figure.add_subplot(1, 2, panel + 1)
        for number, ((name, value, _, _), position) in enumerate(zip(points, positions, strict=True)):
            axes.scatter(position, value, color=COLORS[number % len(COLORS)], s=50, zorder=3, label=name)
        axes.set_ylim(min(values) - margin, max(values) + margin)
        if panel == 0:
            axes.legend(frameon=False, fontsize=8)
        axes.set_xlabel(label)
        axes.set_ylabel(metric)
        axes.set_xscale("log")
        axes.margins(0.2)
        axes.grid(alpha=0.3)
    save(figure, path)


def study(trials: Sequence[tuple[int, float, Mapping[str, Any]]], metric: str, logarithmic: Sequence[str], path: Path,
          *,
          lower_is_better: bool) -> None:
    """Draw a search: the metric of each trial with the best so far, and each setting against the metric.

    Args:
        trials: number, metric and settings of each trial that came to its end.
        metric: its name.
        logarithmic: settings whose axis is so.
    """
    names = sorted({name for _, _, settings in trials for name in settings})
    figure = new_figure(4.5 * (1 + len(names)), 3.5)
    numbers = [number for number, _, _ in trials]
    values = [value for _, value, _ in trials]
    best = np.minimum.accumulate(values) if lower_is_better else np.maximum.accumulate(values)
    axes = figure.add_subplot(1, 1 + len(names), 1)
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    axes.set(xlabel="trial", ylabel=metric)
    axes.legend()
    for position, name in enumerate(names, 2):
        axes = figure.add_subplot(1, 1 + len(names), position)
        chosen = [settings[name] for _, _, settings in trials]
        numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in chosen)
        axes.plot(chosen if numeric else [str(value) for value in chosen], values, "o")
        axes.set(xlabel=name, ylabel=metric)
        if name in logarithmic:
            axes.set_xscale("log")
    save(figure, path)


def schedule(rates: np.ndarray, momenta: np.ndarray | None, steps_per_epoch: int, path: Path) -> None:
    """Draw the learning rate of each training step, and the momentum where it changes.

    Args:
        rates: of every step.
        momenta: of every step, or None.
        steps_per_epoch: the axis is in epochs.
    """
    figure = new_figure(6, 3)
    axes = figure.add_subplot()
    epochs = np.arange(len(rates)) / steps_per_epoch
    axes.plot(epochs, rates)
    axes.set(xlabel="epoch", ylabel="learning rate")
    if momenta is not None:
        beside = axes.twinx()
        beside.plot(epochs, momenta, color="tab:orange")
        beside.set_ylabel("momentum", color="tab:orange")
    save(figure, path)


def rate_range(rates: Sequence[float], losses: Sequence[float], suggested: float, path: Path) -> None:
    """Draw a learning-rate range test: the smoothed loss against the rate, and the rate that it suggests."""
    figure = new_figure(6, 3.5)
    axes = figure.add_subplot()
    axes.plot(rates, losses)
    axes.axvline(suggested, color="tab:green", linestyle="--", label=f"suggested peak {suggested:.2g}")
    axes.set(xlabel="learning rate", ylabel="loss, smoothed", xscale="log")
    axes.legend()
    save(figure, path)


def new_figure(width: float, height: float) -> matplotlib.figure.Figure:
    """Return an empty figure, in inches."""
    return matplotlib.figure.Figure(figsize=(width, height), layout="constrained")


def save(figure: matplotlib.figure.Figure, path: Path) -> None:
    """Write a figure as PNG; the same figure gives the same bytes."""
    figure.savefig(path, dpi=110, metadata={"Software": None})
