"""How detectors write boxes: from what a network gives for each of its places to boxes in the image."""
from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np


#: What networks give.
RAW_BOXES, RAW_LOGITS, OBJECTNESS, PROPOSALS, RAW_POINTS = "boxes", "logits", "objectness", "proposals", "key_points"
#: The sides of boxes are at most so many times as long as those that they are told from: the exponential of more tells
#: nothing (Girshick et al., "Detectron", 2018).
LONGEST = 62.5


@dataclasses.dataclass(frozen=True)
class Given:
    """One output of a network.

    Args:
        shape: without the batch.
        meaning: in words.
    """

    shape: tuple[int, ...]
    meaning: str


@dataclasses.dataclass(frozen=True)
class BoxCoding(abc.ABC):
    """How a network writes boxes. Boxes that are read are ymin, xmin, ymax, xmax in pixels.

    Args:
        size: height and width of the image in pixels.
    """

    size: tuple[int, int]
    #: Whether a row of the outputs is about the same place of every image.
    places_are_fixed: ClassVar[bool] = True

    @property
    def point_count(self) -> int:
        """Return how many key points each box has."""
        return 0

    @abc.abstractmethod
    def outputs(self, classes: int) -> dict[str, Given]:
        """Return what the network gives, by name."""

    @abc.abstractmethod
    def places(self, classes: int) -> int:
        """Return how many boxes are read, those of each class counted by themselves."""

    @abc.abstractmethod
    def boxes(self, outputs: Mapping[str, Any]) -> Any:
        """Return the box of each place, (batch, places, 4), or one for each class, (batch, places, classes, 4)."""

    @abc.abstractmethod
    def scores(self, outputs: Mapping[str, Any]) -> Any:
        """Return 0 to 1 for each place and class, (batch, places, classes)."""

    def read_points(self, outputs: Mapping[str, Any]) -> Any:
        """Return the key points of each place, (batch, places, points, 2): y and x in pixels."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Levels(BoxCoding):
    """Boxes that are told from the cells of several grids, level after level, row by row.

    Args:
        strides: of the levels, in pixels.
    """

    strides: tuple[int, ...]

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """Return how many boxes there are."""

    def places(self, classes: int) -> int:
        return self.count

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Return the rows and columns of each level."""
        return [(-(-self.size[0] // stride), -(-self.size[1] // stride)) for stride in self.strides]

    def centres(self) -> list[np.ndarray]:
        """Return the centres of the cells of each level, (cells, 2) each: y and x in pixels."""
        levels = []
        for stride, (rows, columns) in zip(self.strides, self.grids, strict=True):
            y, x = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
            levels.append((np.stack([y.ravel(), x.ravel()], axis=1) * stride).astype("float32"))
        return levels


@dataclasses.dataclass(frozen=True)
class Points(Levels):
    """Distances from points to the four sides of a box, as anchor-free detectors write them (Tian et al., "FCOS",
    2019).

    Points are the centres of the cells. A distance is a number of strides: one number, at least 0, or the mean of a
    distribution over `bins` whole numbers from 0, written as their logits (Li et al., "Generalized Focal Loss", 2020).

    Args:
        bins: logits of each distance; 1 where it is the distance itself.
    """

    bins: int

    @property
    def count(self) -> int:
        """Return how many points there are."""
        return sum(rows * columns for rows, columns in self.grids)

    @property
    def width(self) -> int:
        """Return how many numbers the network gives for a box."""
        return 4 * self.bins

    def outputs(self, classes: int) -> dict[str, Given]:
        logits = "" if self.bins == 1 else f", as {self.bins} logits each"
        return {RAW_BOXES: Given((self.count, self.width),
                             f"the distances of each point to the sides of its box, in strides{logits}"),
                RAW_LOGITS: Given((self.count, classes), "one per point and class; their sigmoid is the score")}

    def boxes(self, outputs: Mapping[str, Any]) -> Any:
        return self.decode(outputs[RAW_BOXES])

    def scores(self, outputs: Mapping[str, Any]) -> Any:
        return keras.ops.sigmoid(outputs[RAW_LOGITS])

    def points(self) -> np.ndarray:
        """Return the points, (points, 2): y and x in pixels."""
        return np.concatenate(self.centres())

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
