"""Boxes that are told from anchors: boxes of a few shapes at every cell of several grids."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epy

from models.box_coding import LONGEST, OBJECTNESS, RAW_BOXES, RAW_LOGITS, RAW_POINTS, Given, Levels

with epy.lazy_imports():
    import keras
    import numpy as np

#: Height and width in pixels.
Shape = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class AnchorGrids(Levels):
    """Anchors, cell by cell of each level, shape by shape of each cell.

    Args:
        shapes: of the anchors of each level, in pixels.
    """

    shapes: tuple[tuple[Shape, ...], ...]

    @property
    def per_level(self) -> list[int]:
        """Return how many anchors each level has."""
        return [rows * columns * len(shapes) for (rows, columns), shapes in zip(self.grids, self.shapes, strict=True)]

    @property
    def count(self) -> int:
        """Return how many anchors there are."""
        return sum(self.per_level)

    def sizes(self) -> np.ndarray:
        """Return the shape of each anchor, (anchors, 2): height and width in pixels."""
        return np.concatenate([np.tile(np.array(shapes, "float32"), (rows * columns, 1)) for (rows, columns), shapes
                               in zip(self.grids, self.shapes, strict=True)])

    def middles(self) -> np.ndarray:
        """Return the centre of each anchor, (anchors, 2): y and x in pixels."""
        return np.concatenate([np.repeat(centres, len(shapes), axis=0)
                               for centres, shapes in zip(self.centres(), self.shapes, strict=True)])

    def anchors(self) -> np.ndarray:
        """Return the anchors, (anchors, 4), as ymin, xmin, ymax, xmax in pixels."""
        half = self.sizes() / 2
        return np.concatenate([self.middles() - half, self.middles() + half], axis=1)


@dataclasses.dataclass(frozen=True)
class Anchors(AnchorGrids):
    """Shifts and logarithms of scales from anchors to boxes (Ren et al., "Faster R-CNN", 2015, equation 2), as SSD and
    RetinaNet write them; every class is a yes-or-no question.

    Args:
        variances: what shifts and logarithms are divided by where they are learnt, so that both are as large (Liu et
            al., "SSD", 2016, in the authors' code).
        key_points: of a box, written as shifts from its anchor's centre, as the centre is.
    """

    variances: tuple[float, float] = (1.0, 1.0)
    key_points: int = 0

    @property
    def point_count(self) -> int:
        return self.key_points

    def outputs(self, classes: int) -> dict[str, Given]:
        scaled = "" if self.variances == (1.0, 1.0) else f", divided by {self.variances[0]} and {self.variances[1]}"
        points = {RAW_POINTS: Given((self.count, 2 * self.key_points),
                                    "from each anchor's centre to the key points of its box: shifts down and right, in "
                                    "its sides" + ("" if self.variances[0] == 1 else f", divided by {self.variances[0]}"
                                                   ))} if self.key_points else {}
        return {RAW_BOXES: Given((self.count, 4),
                                 "from each anchor to its box: shifts down and right, in its sides, and logarithms of "
                                 f"the scales of height and width{scaled}"),
                RAW_LOGITS: Given((self.count, classes), "one per anchor and class; their sigmoid is the score"),
                **points}

    def boxes(self, outputs: Mapping[str, Any]) -> Any:
        return self.decode(outputs[RAW_BOXES])

    def scores(self, outputs: Mapping[str, Any]) -> Any:
        return keras.ops.sigmoid(outputs[RAW_LOGITS])

    def read_points(self, outputs: Mapping[str, Any]) -> Any:
        shifts = keras.ops.reshape(outputs[RAW_POINTS], (-1, self.count, self.key_points, 2))
        return self.middles()[:, None] + shifts * (self.variances[0] * self.sizes())[:, None]

    def decode(self, deltas: Any) -> Any:
        """Return boxes (…, anchors, 4) in pixels out of what the network gives."""
        return moved(self.anchors(), deltas, self.variances)

    def encode(self, boxes: Any) -> Any:
        """Return what the network is to give for one box of each anchor, (…, anchors, 4) in pixels."""
        return movement(self.anchors(), boxes, self.variances)

    def encode_points(self, points: Any) -> Any:
        """Return what the network is to give for the key points of one box of each anchor, (…, anchors, points, 2) in
        pixels."""
        return (points - self.middles()[:, None]) / (self.variances[0] * self.sizes())[:, None]


@dataclasses.dataclass(frozen=True)
class AnchorCells(AnchorGrids):
    """Centres within their cell and scales of anchors, and whether there is anything, as YOLOv3 writes them (Redmon and
    Farhadi, "YOLOv3: An Incremental Improvement", 2018, section 2.1)."""

    def outputs(self, classes: int) -> dict[str, Given]:
        return {RAW_BOXES: Given((self.count, 4),
                                 "from each anchor to its box: the logits of the centre's place in its cell, y and x, "
                                 "and logarithms of the scales of height and width"),
                OBJECTNESS: Given((self.count, 1), "one per anchor; its sigmoid is how surely it holds anything"),
                RAW_LOGITS: Given((self.count, classes),
                                  "one per anchor and class; their sigmoid, times that of the objectness, is the "
                                  "score")}

    def boxes(self, outputs: Mapping[str, Any]) -> Any:
        return self.decode(outputs[RAW_BOXES])

    def scores(self, outputs: Mapping[str, Any]) -> Any:
        return keras.ops.sigmoid(outputs[OBJECTNESS]) * keras.ops.sigmoid(outputs[RAW_LOGITS])

    def steps(self) -> np.ndarray:
        """Return the stride of each anchor, (anchors, 1), in pixels."""
        return np.concatenate([np.full((count, 1), stride, "float32")
                               for stride, count in zip(self.strides, self.per_level, strict=True)])

    def decode(self, given: Any) -> Any:
        """Return boxes (…, anchors, 4) in pixels out of what the network gives."""
        centres = self.middles() + (keras.ops.sigmoid(given[..., :2]) - 0.5) * self.steps()
        half = self.sizes() * _exponential(given[..., 2:]) / 2
        return keras.ops.concatenate([centres - half, centres + half], axis=-1)

    def encode(self, boxes: Any) -> Any:
        """Return, for one box of each anchor (…, anchors, 4) in pixels, the place of its centre in the anchor's cell, 0
        to 1, and the logarithms of the scales: (…, anchors, 4)."""
        centres, sides = _centres_and_sides(boxes)
        return keras.ops.concatenate([(centres - self.middles()) / self.steps() + 0.5,
                                      keras.ops.log(keras.ops.maximum(sides, 1e-3) / self.sizes())], axis=-1)


def moved(anchors: Any, deltas: Any, variances: Sequence[float]) -> Any:
    """Return the boxes that deltas lead to, see `movement`: (…, 4) in pixels."""
    centres, sides = _centres_and_sides(anchors)
    centres = centres + deltas[..., :2] * variances[0] * sides
    half = sides * _exponential(deltas[..., 2:] * variances[1]) / 2
    return keras.ops.concatenate([centres - half, centres + half], axis=-1)


def movement(anchors: Any, boxes: Any, variances: Sequence[float]) -> Any:
    """Return what leads from anchors to boxes: shifts of the centre in the anchor's sides, and logarithms of the scales
    (Ren et al. 2015, equation 2).

    Args:
        anchors, boxes: (…, 4), ymin, xmin, ymax, xmax in pixels; anchors have an area.
        variances: what the two are divided by.
    """
    centres, sides = _centres_and_sides(anchors)
    true_centres, true_sides = _centres_and_sides(boxes)
    return keras.ops.concatenate([(true_centres - centres) / sides / variances[0],
                                  keras.ops.log(keras.ops.maximum(true_sides, 1e-3) / sides) / variances[1]], axis=-1)


def _centres_and_sides(boxes: Any) -> tuple[Any, Any]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def _exponential(logarithms: Any) -> Any:
    return keras.ops.exp(keras.ops.minimum(logarithms, float(np.log(LONGEST))))
