"""Masks over their images: each class in its colour, and what a model answered beside what is true."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from pipelines.figures import figures

with epy.lazy_imports():
    import matplotlib
    import matplotlib.colors
    import matplotlib.patches
    import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The class that is not drawn: what is left of an image when everything that has a name is taken out of it.
BACKGROUND = "background"
#: Of pixels that are of no class.
VOID = 255
STRENGTH = 0.5
VOID_COLOR, WRONG_COLOR = "#9ca3af", "#dc2626"
#: Panels of an example, and the inches of one.
PANELS, SIDE = ("image", "truth", "answer", "wrong"), 2.2


def colors(names: Sequence[str]) -> list[str | None]:
    """Return the colour of each class; None of the background. Above twenty classes they come again."""
    shown = [name for name in names if name != BACKGROUND]
    known = figures.COLORS if len(shown) <= len(figures.COLORS) else [
        matplotlib.colors.to_hex(color) for color in matplotlib.colormaps["tab20"](range(20))]
    given = {name: known[number % len(known)] for number, name in enumerate(shown)}
    return [given.get(name) for name in names]


def overlay(axes: Axes, mask: np.ndarray, names: Sequence[str], strength: float = STRENGTH) -> None:
    """Draw a mask over what is on the axes.

    Args:
        mask: classes, (height, width); 255 is none.
        names: of the classes.
        strength: of the colours, 1 where nothing is to shine through.
    """
    painted = np.zeros((*mask.shape, 4))
    for number, color in enumerate(colors(names)):
        if color is not None:
            painted[mask == number] = matplotlib.colors.to_rgba(color, strength)
    painted[mask == VOID] = matplotlib.colors.to_rgba(VOID_COLOR, strength)
    axes.imshow(painted, interpolation="nearest")
    axes.axis("off")


def instances(axes: Axes, numbers: np.ndarray, strength: float = STRENGTH) -> None:
    """Draw things over what is on the axes, neighbours in different colours.

    Args:
        numbers: of the thing that each pixel belongs to, (height, width); 0 is none.
        strength: of the colours.
    """
    painted = np.zeros((*numbers.shape, 4))
    known = numbers > 0
    painted[known] = [matplotlib.colors.to_rgba(figures.COLORS[number % len(figures.COLORS)], strength)
                      for number in numbers[known]]
    axes.imshow(painted, interpolation="nearest")
    axes.axis("off")


def separated(examples: Sequence[tuple[str, Callable[[Axes], None], np.ndarray, np.ndarray]], path: Path) -> None:
    """Draw a row for each example: the image, the things that are true, and those that were answered.

    Args:
        examples: title, a function that draws the image, numbers of the things in truth and answer (height, width).
    """
    panels = ("image", "truth", "answer")
    figure = figures.new_figure(len(panels) * SIDE, len(examples) * (SIDE + 0.25) + 0.2)
    for row, (title, draw, truth, answer) in enumerate(examples):
        for column, panel in enumerate(panels):
            axes = figure.add_subplot(len(examples), len(panels), row * len(panels) + column + 1)
            draw(axes)
            axes.set_title(title if panel == "image" else panel, fontsize=8)
            if panel != "image":
                instances(axes, truth if panel == "truth" else answer)
    figures.save(figure, path)


def answers(examples: Sequence[tuple[str, Callable[[Axes], None], np.ndarray, np.ndarray]], names: Sequence[str],
            path: Path) -> None:
    """Draw a row for each example: the image, what is true, what was answered, and where that is wrong.

    Args:
        examples: title, a function that draws the image, truth and answer (height, width).
        names: of the classes.
    """
    figure = figures.new_figure(len(PANELS) * SIDE, len(examples) * (SIDE + 0.25) + 0.5)
    for row, (title, draw, truth, answer) in enumerate(examples):
        for column, panel in enumerate(PANELS):
            axes = figure.add_subplot(len(examples), len(PANELS), row * len(PANELS) + column + 1)
            draw(axes)
            axes.set_title(title if panel == "image" else panel, fontsize=8)
            if panel == "wrong":
                _mark(axes, (truth != answer) & (truth != VOID))
            elif panel != "image":
                overlay(axes, truth if panel == "truth" else answer, names)
    handles = [matplotlib.patches.Patch(color=color, label=name)
               for name, color in zip(names, colors(names), strict=True) if color is not None]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, max(1, len(handles))), frameon=False,
                  fontsize=8)
    figures.save(figure, path)


def _mark(axes: Axes, wrong: np.ndarray) -> None:
    marked = np.zeros((*wrong.shape, 4))
    marked[wrong] = matplotlib.colors.to_rgba(WRONG_COLOR, 1.0)
    axes.imshow(marked, interpolation="nearest")
