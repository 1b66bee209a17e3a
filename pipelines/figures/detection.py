"""Boxes over their images, and how detectors trade what they miss for what they make up."""
from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epy

from pipelines.figures import figures

with epy.lazy_imports():
    import matplotlib.patches
    import numpy as np
    from PIL import ImageDraw, ImageFont

if TYPE_CHECKING:
    import PIL.Image
    from matplotlib.axes import Axes

#: Boxes as shares of the image, (boxes, 4), and what stands at each.
Drawn = tuple["np.ndarray", Sequence[str]]
#: Curves of single classes that are named.
NAMED = 10
#: Inches of a panel.
SIDE = 2.6


def boxes(axes: Axes, sides: np.ndarray, words: Sequence[str]) -> None:
    """Draw boxes over the image that is on the axes.

    Args:
        sides: (boxes, 4), ymin, xmin, ymax, xmax as shares of the image.
        words: what stands at each box; its first word gives the colour.
    """
    image = axes.images[0].get_array()
    assert image is not None
    height, width = image.shape[:2]
    for (ymin, xmin, ymax, xmax), text in zip(sides, words, strict=True):
        color = _color(text)
        left, top = xmin * width - 0.5, ymin * height - 0.5
        axes.add_patch(matplotlib.patches.Rectangle((left, top), (xmax - xmin) * width, (ymax - ymin) * height,
                                                    fill=False, edgecolor=color, linewidth=1.2))
        axes.text(left, top, text, fontsize=5, color="white", verticalalignment="bottom", clip_on=True,
                  bbox={"facecolor": color, "edgecolor": "none", "pad": 0.6, "alpha": 0.85})


def points(axes: Axes, places: np.ndarray) -> None:
    """Draw key points over the image that is on the axes.

    Args:
        places: (points, 2), y and x as shares of the image.
    """
    image = axes.images[0].get_array()
    assert image is not None
    height, width = image.shape[:2]
    axes.scatter(places[:, 1] * width - 0.5, places[:, 0] * height - 0.5, s=3, color="white", edgecolors="black",
                 linewidths=0.4)


def on_image(image: PIL.Image.Image, sides: np.ndarray, words: Sequence[str],
             places: np.ndarray | None = None) -> PIL.Image.Image:
    """Return an image with boxes drawn on it, in its own size.

    Args:
        sides: (boxes, 4), ymin, xmin, ymax, xmax in pixels.
        words: what stands at each box; its first word gives the colour.
        places: key points, (points, 2), y and x in pixels.
    """
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    width = max(1, round(max(image.size) / 300))
    font = ImageFont.load_default(max(8.0, max(image.size) / 45))
    for (top, left, bottom, right), text in zip(sides.tolist(), words, strict=True):
        color = _color(text)
        pen.rectangle([left, top, right, bottom], outline=color, width=width)
        _, _, across, down = pen.textbbox((0, 0), text, font=font)
        above = max(0.0, top - down - 2)
        pen.rectangle([left, above, left + across + 2, above + down + 2], fill=color)
        pen.text((left + 1, above), text, fill="white", font=font)
    for y, x in ([] if places is None else places.tolist()):
        pen.ellipse([x - 1.5 * width, y - 1.5 * width, x + 1.5 * width, y + 1.5 * width], fill="white", outline="black")
    return drawn


def _color(text: str) -> str:
    """Return the colour of what a text begins with."""
    return figures.COLORS[zlib.crc32(text.split()[0].encode()) % len(figures.COLORS)]


def answers(examples: Sequence[tuple[str, Callable[[Axes], None], Drawn, Drawn]], path: Path, pairs: int = 3) -> None:
    """Draw each example twice, with what is true and with what is answered.

    Args:
        examples: title, what draws the image, and the two sets of boxes.
        pairs: in a row.
    """
    rows = max(1, -(-len(examples) // pairs))
    figure = figures.new_figure(2 * pairs * SIDE, rows * SIDE * 1.1)
    for number, (title, draw, true, answered) in enumerate(examples):
        for side, (drawn, what) in enumerate(((true, "truth"), (answered, "answer"))):
            axes = figure.add_subplot(rows, 2 * pairs, 2 * number + side + 1)
            draw(axes)
            boxes(axes, *drawn)
            axes.set_title(f"{title}, {what}" if side == 0 else what, fontsize=8)
    figures.save(figure, path)


def precision_recall(recall: np.ndarray, precision: np.ndarray, best: int, path: Path,
                     classes: Mapping[str, np.ndarray] | None = None) -> None:
    """Draw precision over recall.

    Args:
        best: the place of the point to mark.
        classes: precision of single classes at recalls from 0 to 1; below 0 where there is no box of the class.
    """
    figure = figures.new_figure(4.2, 3.4)
    axes = figure.add_subplot()
    known = {name: values for name, values in (classes or {}).items() if (values > -1).any()}
    for number, (name, values) in enumerate(known.items()):
        axes.plot(np.linspace(0, 1, len(values)), values, color=f"C{number % 10}", linewidth=0.6, alpha=0.8,
                  label=name if len(known) <= NAMED else None)
    axes.plot(recall, precision, color=figures.COLORS[0], linewidth=2)
    if 1 < len(known) <= NAMED:
        axes.legend(fontsize=6, loc="lower left")
    if len(recall):
        axes.plot(recall[best], precision[best], "o", color=figures.COLORS[1])
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(alpha=0.3)
    figures.save(figure, path)
