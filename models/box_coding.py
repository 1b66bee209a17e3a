"""How detectors write boxes: from what a network gives for each of its places to boxes in the image."""
from __future__ import annotations

import dataclasses
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Points:
    """Distances from points to the four sides of a box, as anchor-free detectors write them (Tian et al., "FCOS",
    2019).

    Points are the centres of the cells of each level, level after level, row by row. A distance is a number of strides:
    one number, at least 0, or the mean of a distribution over `bins` whole numbers from 0, written as their logits (Li
    et al., "Generalized Focal Loss", 2020).

    Args:
        size: height and width of the image in pixels.
        strides: of the levels, in pixels.
        bins: logits of each distance; 1 where it is the distance itself.
    """

    size: tuple[int, int]
    strides: tuple[int, ...]
    bins: int

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Return the rows and columns of each level."""
        return [(-(-self.size[0] // stride), -(-self.size[1] // stride)) for stride in self.strides]

    @property
    def count(self) -> int:
        """Return how many points there are."""
        return sum(rows * columns for rows, columns in self.grids)

    @property
    def width(self) -> int:
        """Return how many numbers the network gives for a box."""
        return 4 * self.bins

    def points(self) -> np.ndarray:
        """Return the points, (points, 2): y and x in pixels."""
        levels = []
        for stride, (rows, columns) in zip(self.strides, self.grids, strict=True):
            y, x = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
            levels.append(np.stack([y.ravel(), x.ravel()], axis=1) * stride)
        return np.concatenate(levels).astype("float32")

    def steps(self) -> np.ndarray:
        """Return the stride of each point, (points,), in pixels."""
        return np.concatenate([np.full(rows * columns, stride, "float32") for stride, (rows, columns) in zip(
            self.strides, self.grids, strict=True)])

    def distances(self, boxes: Any) -> Any:
        """Return the distances to the top, the left, the bottom and the right in strides, (…, points, 4).

        Args:
            boxes: what the network gives, (…, points, `width`).
        """
        if self.bins == 1:
            return boxes
        logits = keras.ops.reshape(boxes, (*keras.ops.shape(boxes)[:-1], 4, self.bins))
        return keras.ops.sum(keras.ops.softmax(logits) * np.arange(self.bins, dtype="float32"), axis=-1)

    def decode(self, boxes: Any) -> Any:
        """Return boxes (…, points, 4) as ymin, xmin, ymax, xmax in pixels out of what the network gives."""
        distances = self.distances(boxes) * self.steps()[:, None]
        points = self.points()
        return keras.ops.concatenate([points - distances[..., :2], points + distances[..., 2:]], axis=-1)

    def encode(self, boxes: Any) -> Any:
        """Return the distances in strides (…, points, 4) of one box for each point, (…, points, 4) in pixels."""
        points, steps = self.points(), self.steps()[:, None]
        return keras.ops.concatenate([points - boxes[..., :2], boxes[..., 2:] - points], axis=-1) / steps
