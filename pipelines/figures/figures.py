"""The pictures of the report: each function draws one PNG file."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

with epy.lazy_imports():
    import matplotlib
    import matplotlib.figure
    import numpy as np

COLORS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04")


def grid(images: np.ndarray, titles: Sequence[str], path: Path, columns: int = 5) -> None:
    """Pictures, uint8 (examples, height, width, channels), in a grid with a title each."""
    rows = max(1, -(-len(images) // columns))
    figure = new_figure(columns * 1.5, rows * 1.75)
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=8)
        axes.axis("off")
    save(figure, path)


def curves(series: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """The loss, the accuracy and the learning rate over the epochs, each in a panel of its own."""
    panels = (("loss", ("loss", "val_loss")), ("accuracy", ("accuracy", "val_accuracy")), ("learning rate", ("learning_rate",)))
    figure = new_figure(12, 3.2)
    for number, (title, names) in enumerate(panels):
        axes = figure.add_subplot(1, 3, number + 1)
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
    """Counts of true class (rows) against predicted class (columns)."""
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
    """How often the model is right against how sure it is, by bins of confidence."""
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.digitize(confidence, edges) - 1, 0, bins - 1)
    figure = new_figure(4, 4)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle="--")
    filled = [number for number in range(bins) if (places == number).any()]
    axes.bar([(edges[number] + edges[number + 1]) / 2 for number in filled],
             [correct[places == number].mean() for number in filled], width=1 / bins, color=COLORS[0], edgecolor="white")
    axes.set_xlabel("confidence")
    axes.set_ylabel("share correct")
    save(figure, path)


def logit_errors(errors: Mapping[str, np.ndarray], path: Path) -> None:
    """The distribution of |logit - logit of the Keras model| over all test examples, one line per artifact, on a log scale."""
    figure = new_figure(8, 3.6)
    axes = figure.add_subplot()
    bins = np.logspace(-8, 2, 81).tolist()
    for number, (name, values) in enumerate(errors.items()):
        axes.hist(np.clip(values.ravel(), bins[0], bins[-1]), bins=bins, histtype="step", linewidth=1.5, label=name,
                  color=COLORS[number % len(COLORS)])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("difference of a logit from the Keras model's")
    axes.set_ylabel("logits")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    save(figure, path)


def pareto(points: Sequence[tuple[str, float, float, float]], metric: str, path: Path) -> None:
    """Artifacts (name, metric, bytes, latency in ms): the metric against the size and against the latency."""
    figure = new_figure(10, 3.6)
    panels = (("size in kB", [size / 1000 for _, _, size, _ in points]), ("latency p50 in ms", [time for *_, time in points]))
    lowest, highest = min(worth for _, worth, _, _ in points), max(worth for _, worth, _, _ in points)
    for panel, (label, places) in enumerate(panels):
        axes = figure.add_subplot(1, 2, panel + 1)
        for number, ((name, worth, _, _), place) in enumerate(zip(points, places, strict=True)):
            axes.scatter(place, worth, color=COLORS[number % len(COLORS)], s=50, zorder=3, label=name)
        axes.set_ylim(lowest - 0.01, highest + 0.01)
        if panel == 0:
            axes.legend(frameon=False, fontsize=8)
        axes.set_xlabel(label)
        axes.set_ylabel(metric)
        axes.set_xscale("log")
        axes.margins(0.2)
        axes.grid(alpha=0.3)
    save(figure, path)


def study(trials: Sequence[tuple[int, float, Mapping[str, Any]]], metric: str, logarithmic: Sequence[str], path: Path) -> None:
    """A search: the metric of each trial with the best so far, and each setting against the metric.

    Args:
        trials: number, metric and settings of each trial that came to its end.
        metric: its name.
        logarithmic: settings whose axis is so.
    """
    names = sorted({name for _, _, settings in trials for name in settings})
    figure = new_figure(4.5 * (1 + len(names)), 3.5)
    numbers, values = [number for number, _, _ in trials], [value for _, value, _ in trials]
    best = np.minimum.accumulate(values) if metric.endswith("loss") else np.maximum.accumulate(values)
    axes = figure.add_subplot(1, 1 + len(names), 1)
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    axes.set(xlabel="trial", ylabel=metric)
    axes.legend()
    for place, name in enumerate(names, 2):
        axes = figure.add_subplot(1, 1 + len(names), place)
        chosen = [settings[name] for _, _, settings in trials]
        numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in chosen)
        axes.plot(chosen if numeric else [str(value) for value in chosen], values, "o")
        axes.set(xlabel=name, ylabel=metric)
        if name in logarithmic:
            axes.set_xscale("log")
    save(figure, path)


def schedule(rates: np.ndarray, momenta: np.ndarray | None, steps_per_epoch: int, path: Path) -> None:
    """The learning rate of each training step, and the momentum where it changes.

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
    """A learning-rate range test: the smoothed loss against the rate, and the rate that it suggests."""
    figure = new_figure(6, 3.5)
    axes = figure.add_subplot()
    axes.plot(rates, losses)
    axes.axvline(suggested, color="tab:green", linestyle="--", label=f"suggested peak {suggested:.2g}")
    axes.set(xlabel="learning rate", ylabel="loss, smoothed", xscale="log")
    axes.legend()
    save(figure, path)


def new_figure(width: float, height: float) -> matplotlib.figure.Figure:
    """An empty figure, in inches."""
    return matplotlib.figure.Figure(figsize=(width, height), layout="constrained")


def save(figure: matplotlib.figure.Figure, path: Path) -> None:
    """Writes a figure as PNG; the same figure gives the same bytes."""
    figure.savefig(path, dpi=110, metadata={"Software": None})
