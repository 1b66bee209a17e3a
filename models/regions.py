"""Boxes that are told from regions that the network proposes itself, and the layers that propose and see them."""
from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from etils import epy

from models.anchors import Anchors, Shape, moved
from models.box_coding import PROPOSALS, RAW_BOXES, RAW_LOGITS, BoxCoding, Given
from models.registry import own_layer

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

#: Less than the logit of anything: its sigmoid is 0. No smaller, so that scores as integers have steps left.
NOTHING = -100.0
#: Sides in pixels from which a region has an area.
SMALLEST = 1e-3
#: Points across each part of a region that its map is read at.
SAMPLES = 2
#: The side of a region that the map of a stride of 16 is read for (Lin et al., "Feature Pyramid Networks", 2017,
#: equation 1).
CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4


@dataclasses.dataclass(frozen=True)
class Regions(BoxCoding):
    """Shifts and scales from proposed regions to boxes, for each class of its own, and one class or the background for
    each region (Girshick, "Fast R-CNN", 2015).

    Args:
        anchors: what regions are proposed from.
        count: of the regions.
        variances: what shifts and logarithms of scales are divided by.
    """

    anchors: Anchors
    count: int
    variances: tuple[float, float] = (0.1, 0.2)
    places_are_fixed: ClassVar[bool] = False

    def outputs(self, classes: int) -> dict[str, Given]:
        return {PROPOSALS: Given((self.count, 4),
                                 "the regions: ymin, xmin, ymax, xmax in pixels, 0 where there is none"),
                RAW_BOXES: Given((self.count, 4 * (classes + 1)),
                             "from each region to its box, for the background and for each class: shifts down and "
                             "right, in its sides, and logarithms of the scales of height and width, divided by "
                             f"{self.variances[0]} and {self.variances[1]}"),
                RAW_LOGITS: Given((self.count, classes + 1),
                                  "one per region for the background and for each class; their softmax is the score")}

    def places(self, classes: int) -> int:
        return self.count * classes

    def boxes(self, outputs: Mapping[str, Any]) -> Any:
        deltas = keras.ops.reshape(outputs[RAW_BOXES], (-1, self.count, outputs[RAW_BOXES].shape[-1] // 4, 4))
        return moved(outputs[PROPOSALS][:, :, None], deltas[:, :, 1:], self.variances)

    def scores(self, outputs: Mapping[str, Any]) -> Any:
        there = keras.ops.cast(outputs[PROPOSALS][..., 2:3] > outputs[PROPOSALS][..., :1], "float32")
        return keras.ops.softmax(outputs[RAW_LOGITS])[..., 1:] * there


@own_layer
@functools.cache
def proposals_class() -> type:
    """Return the layer that proposes regions, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class Proposals(keras.layers.Layer):
        """The best regions of an image, none of which overlaps a better one much (Ren et al., "Faster R-CNN", 2015,
        section 3.1), nor has no area. What it gives is not learnt through.

        Args:
            size, strides, shapes: of the anchors, see `models.anchors.Anchors`.
            candidates: regions of each level that are looked at, at most.
            count: of regions that are given; rows behind the last are 0.
            iou: regions of one level that overlap more are one.
        """

        def __init__(self, size: Sequence[int], strides: Sequence[int], shapes: Sequence[Sequence[Shape]],
                     candidates: int, count: int, iou: float, **others: Any):
            super().__init__(**others)
            self.anchors = Anchors((size[0], size[1]), tuple(strides), tuple(
                tuple((shape[0], shape[1]) for shape in level) for level in shapes))
            self.candidates, self.count, self.iou = candidates, count, iou

        def call(self, given: Sequence[Any]) -> Any:
            """Return the regions, (batch, count, 4) in pixels.

            Args:
                given: logits of holding anything, (batch, anchors, 1), and the ways to boxes, (batch, anchors, 4), see
                    `models.anchors.movement`.
            """
            objectness, deltas = given
            height, width = self.anchors.size
            boxes = self.anchors.decode(tf.cast(tf.stop_gradient(deltas), tf.float32))
            boxes = tf.clip_by_value(boxes, 0.0, tf.constant([height, width, height, width], tf.float32))
            scores = tf.cast(tf.stop_gradient(objectness)[..., 0], tf.float32)
            best, sides, apart, first = [], [], [], 0
            for level, size in enumerate(self.anchors.per_level):
                top = tf.math.top_k(scores[:, first:first + size], min(self.candidates, size))
                best.append(top.values)
                sides.append(tf.gather(boxes[:, first:first + size], top.indices, axis=1, batch_dims=1))
                apart.append(np.full((1, min(self.candidates, size), 1), 2.0 * level * max(height, width), "float32"))
                first += size
            boxes, scores = tf.concat(sides, axis=1), tf.concat(best, axis=1)
            has_area = tf.reduce_min(boxes[..., 2:] - boxes[..., :2], axis=-1) >= SMALLEST
            scores = tf.where(has_area, scores, NOTHING - 1)
            candidates = (boxes, boxes + np.concatenate(apart, axis=1), scores)
            if boxes.shape[0] == 1:
                return self._chosen(tuple(part[0] for part in candidates))[None]
            return tf.map_fn(self._chosen, candidates, fn_output_signature=tf.TensorSpec((self.count, 4), tf.float32))

        def _chosen(self, given: tuple[Any, Any, Any]) -> Any:
            """Return the regions of one image."""
            boxes, apart, scores = given
            rows, number = tf.raw_ops.NonMaxSuppressionV4(
                boxes=apart, scores=scores, max_output_size=self.count, iou_threshold=self.iou,
                score_threshold=NOTHING, pad_to_max_output_size=True)
            there = tf.cast(tf.range(self.count) < number, tf.float32)
            return tf.gather(boxes, tf.reshape(rows, [self.count])) * there[:, None]

        def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
            return (input_shape[0][0], self.count, 4)

        def get_config(self) -> dict[str, Any]:
            anchors = self.anchors
            return {**super().get_config(), "size": anchors.size, "strides": anchors.strides, "shapes": anchors.shapes,
                    "candidates": self.candidates, "count": self.count, "iou": self.iou}

    return Proposals


@own_layer
@functools.cache
def region_align_class() -> type:
    """Return the layer that sees regions, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class RegionAlign(keras.layers.Layer):
        """What the maps of a pyramid hold in regions, read between their places (He et al., "Mask R-CNN", 2017, section
        3), each from the map of its size (Lin et al., "Feature Pyramid Networks", 2017, equation 1).

        Args:
            strides: of the maps, in pixels.
            parts: rows and columns that a region is cut into.
        """

        def __init__(self, strides: Sequence[int], parts: int, **others: Any):
            super().__init__(**others)
            self.strides, self.parts = tuple(strides), parts

        def call(self, given: Sequence[Any]) -> Any:
            """Return (batch, regions, parts * parts, channels).

            Args:
                given: regions, (batch, regions, 4), ymin, xmin, ymax, xmax in pixels, and the maps, (batch, height,
                    width, channels), one for each stride.
            """
            regions, *maps = given
            count, channels = regions.shape[1], maps[0].shape[-1]
            table = tf.concat([tf.reshape(x, [-1, x.shape[1] * x.shape[2], channels]) for x in maps], axis=1)
            sizes = [x.shape[1] * x.shape[2] for x in maps]
            firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype("float32")
            facts = np.stack([[x.shape[1] for x in maps], [x.shape[2] for x in maps], self.strides, firsts], axis=1)
            rows, columns, stride, first = tf.unstack(
                tf.gather(tf.constant(facts, tf.float32), self._map_of(regions)), axis=-1)
            row, of_row = self._places(regions[..., 0], regions[..., 2], stride, rows)
            column, of_column = self._places(regions[..., 1], regions[..., 3], stride, columns)
            across = row.shape[-1]
            column, of_column = (tf.reshape(x, [-1, count, 1, self.parts * across]) for x in (column, of_column))
            # no tensor has more than four dimensions, which is what phones take
            lines, seen = count * self.parts, 0.0
            for number in range(across):
                places = (first[..., None] + row[..., number] * columns[..., None])[..., None] + column
                read = tf.gather(table, tf.cast(tf.reshape(places, [-1, lines * self.parts * across]), tf.int32),
                                 axis=1, batch_dims=1)
                seen += (tf.reshape(read, [-1, lines, self.parts * across, channels])
                         * tf.reshape(of_row[..., number], [-1, lines, 1, 1]))
            of_line = tf.reshape(of_column * tf.ones([self.parts, 1]), [-1, lines, self.parts * across, 1])
            parts = tf.reshape(seen * of_line, [-1, lines * self.parts, across, channels])
            return tf.reshape(tf.reduce_sum(parts, axis=2), [-1, count, self.parts**2, channels])

        def _map_of(self, regions: Any) -> Any:
            """Return which map each region is read from, (batch, regions)."""
            areas = tf.maximum(tf.reduce_prod(regions[..., 2:] - regions[..., :2], axis=-1), 1.0)
            level = CANONICAL_LEVEL + tf.math.log(tf.sqrt(areas) / CANONICAL_SIDE) / math.log(2) + 1e-6
            levels = [stride.bit_length() - 1 for stride in self.strides]
            return tf.cast(tf.clip_by_value(tf.floor(level), levels[0], levels[-1]), tf.int32) - levels[0]

        def _places(self, low: Any, high: Any, stride: Any, size: Any) -> tuple[Any, Any]:
            """Return the rows or the columns of a map that each part is read at, (batch, regions, parts, 2 * SAMPLES)
            whole numbers, and how much of the part each is."""
            points = [(np.arange(self.parts) + (sample + 0.5) / SAMPLES) / self.parts for sample in range(SAMPLES)]
            shares = np.stack(points, axis=1).astype("float32")
            low, high, stride, size = (value[..., None, None] for value in (low, high, stride, size))
            at = tf.clip_by_value((low + (high - low) * shares) / stride - 0.5, 0.0, size - 1)
            below = tf.floor(at)
            share = at - below
            return (tf.concat([below, tf.minimum(below + 1, size - 1)], axis=-1),
                    tf.concat([1 - share, share], axis=-1) / SAMPLES)

        def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
            regions, first, *_ = input_shape
            return (regions[0], regions[1], self.parts**2, first[-1])

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "strides": self.strides, "parts": self.parts}

    return RegionAlign
