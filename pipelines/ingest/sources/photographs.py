"""Photographs that come inside packages, and squares of them that scenes are set into."""
from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import PIL.Image


def photograph(name: str) -> np.ndarray:
    """Return a photograph of a package, uint8 (height, width, 3).

    Args:
        name: the package, sklearn or skimage, and how it calls its file.
    """
    package, file = name.split()
    folder = Path(importlib.util.find_spec(package).origin).parent  # type: ignore[union-attr, arg-type]
    path = folder / ("datasets/images" if package == "sklearn" else "data") / file
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def background(picture: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Return a random square of a photograph, at least as large as a scene, reduced to it: float32 (size, size, 3)."""
    side = int(generator.integers(size, min(picture.shape[:2]) + 1))
    top, left = (int(generator.integers(0, length - side + 1)) for length in picture.shape[:2])
    square = PIL.Image.fromarray(picture[top:top + side, left:left + side])
    if generator.random() < 0.5:
        square = square.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(square.resize((size, size), PIL.Image.Resampling.BOX)).astype("float32")


def covered(one: np.ndarray, others: Sequence[np.ndarray]) -> float:
    """Return the largest intersection of a box with others as a share of the smaller of the two; 0 without others."""
    return max((_covered(one, other) for other in others), default=0.0)


def _covered(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    areas: list[Any] = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return float(np.prod(np.maximum(sides, 0)) / min(areas))
