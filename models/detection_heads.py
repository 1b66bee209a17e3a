"""What the heads of detectors have in common."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras

#: The share of places that hold something, at first (Lin et al., "Focal Loss for Dense Object Detection", 2017, section
#: 3.3).
PRIOR = 0.01


def joined_places(maps: Sequence[Any], size: int, name: str) -> Any:
    """Return what is said of all places, level after level, row by row: (batch, places, size).

    Args:
        maps: of the levels, (batch, height, width, places of a cell * size).
        size: numbers of a place.
        name: of the layer that gives them.
    """
    rows = [keras.layers.Reshape((-1, size))(x) for x in maps]
    return keras.layers.Concatenate(1, name=name)(rows) if len(rows) > 1 else keras.layers.Identity(name=name)(rows[0])
