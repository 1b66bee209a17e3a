"""The loss of YOLOv3."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from etils import epy
from pydantic import Field

from models.anchors import AnchorCells
from models.box_coding import OBJECTNESS, RAW_BOXES, RAW_LOGITS
from pipelines.training.detection.assigning import Truth, in_crowds
from pipelines.training.detection.detector_loss import DetectorLoss, shared
from pipelines.training.detection.image_by_image import image_by_image
from pipelines.training.detection.matching import Matched
from pipelines.training.detection.overlap import overlap

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class CellDetection(DetectorLoss, name="cell_detection"):
    """Objectness and classes by cross-entropy, and boxes by their distance from the true ones.

    For each box one anchor answers: the one most like it in shape, at the cell that its centre is in. Others are to
    hold nothing, unless what they say overlaps a box anyway. Redmon and Farhadi, "YOLOv3: An Incremental Improvement",
    2018, sections 2.1 to 2.3. All is divided by how many anchors of a batch answer.

    Args:
        ignored: overlap with a box from which an anchor that does not answer for it is not asked whether it holds
            anything.
        boxes: squared, half the squares of how far the centre's place in its cell, a sigmoid from 0 to 1, and the
            logarithms of the scales are off, a box of no area counting twice as much as the whole image, as the
            authors' code has it; or an overlap that is made large: iou, giou, diou or ciou.
        box_weight, object_weight, class_weight: factors of the three.
    """

    reads = AnchorCells
    ignored: float = Field(0.5, gt=0, le=1)
    boxes: Literal["squared", "iou", "giou", "diou", "ciou"] = "squared"
    box_weight: float = Field(1.0, ge=0)
    object_weight: float = Field(1.0, gt=0)
    class_weight: float = Field(1.0, gt=0)

    def of_images(self, coding: AnchorCells, truth: Truth, outputs: Mapping[str, Any]) -> Any:
        decoded = coding.decode(outputs[RAW_BOXES])
        matched = by_shape(coding, truth, decoded, self.ignored)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits
        objects = entropy(matched.found, outputs[OBJECTNESS][..., 0]) * (matched.found + matched.nothing)
        logits = outputs[RAW_LOGITS]
        classes = tf.reduce_sum(entropy(tf.one_hot(matched.classes, logits.shape[-1]), logits), axis=-1)
        apart = self._apart(coding, outputs[RAW_BOXES], decoded, matched.boxes)
        each = (self.object_weight * objects
                + (self.class_weight * classes + self.box_weight * apart) * matched.found)
        return shared(tf.reduce_sum(each, axis=1), tf.reduce_sum(matched.found))

    def _apart(self, coding: AnchorCells, given: Any, decoded: Any, true: Any) -> Any:
        """Return how far each anchor's box is from the true one, (batch, anchors)."""
        if self.boxes != "squared":
            return 1 - overlap(decoded, true, self.boxes)
        wanted = coding.encode(true)
        place = tf.sigmoid(given[..., :2]) - wanted[..., :2]
        scale = given[..., 2:] - wanted[..., 2:]
        # small boxes count more, as in the authors' code
        area = tf.reduce_prod(true[..., 2:] - true[..., :2], axis=-1) / (coding.size[0] * coding.size[1])
        return (2 - area) * 0.5 * tf.reduce_sum(tf.concat([place, scale], axis=-1)**2, axis=-1)


def by_shape(coding: AnchorCells, truth: Truth, decoded: Any, ignored: float) -> Matched:
    """Return what each anchor is to answer: for each box the anchor most like it in shape, at the cell of its centre.

    Args:
        decoded: what the anchors say, (batch, anchors, 4) in pixels.
        ignored: an anchor whose box overlaps a true one so far, and that does not answer for it, does not count.
    """
    def of_images(decoded: Any, *parts: Any) -> tuple[Any, Any, Any, Any]:
        matched = _matched(coding, Truth(*parts), decoded, ignored)
        return matched.boxes, matched.classes, matched.found, matched.nothing

    kinds = (truth.boxes.dtype, truth.classes.dtype, tf.float32, tf.float32)
    return Matched(*image_by_image(of_images, (decoded, *truth.parts), kinds, truth.boxes.shape[1] * coding.count))


def _matched(coding: AnchorCells, truth: Truth, decoded: Any, ignored: float) -> Matched:
    """Return what `by_shape` does, in as much memory as the whole batch takes."""
    place = _answering(coding, truth)  # (batch, most)
    there = tf.cast(truth.present, tf.float32)
    of_box = tf.one_hot(place, coding.count) * there[..., None]  # (batch, most, anchors)
    found = tf.reduce_max(of_box, axis=1)
    owner = tf.argmax(of_box, axis=1)
    iou = overlap(truth.boxes[:, :, None], decoded[:, None]) * there[..., None]
    near = tf.cast(tf.reduce_max(iou, axis=1) > ignored, tf.float32)
    crowded = in_crowds(truth, tf.constant(coding.middles()))
    return Matched(tf.gather(truth.boxes, owner, axis=1, batch_dims=1),
                   tf.gather(truth.classes, owner, axis=1, batch_dims=1), found,
                   (1 - found) * (1 - near) * (1 - crowded))


def _answering(coding: AnchorCells, truth: Truth) -> Any:
    """Return which anchor answers for each box, (batch, most)."""
    shapes = np.concatenate([np.array(shapes, "float32") for shapes in coding.shapes])
    sides = truth.boxes[..., 2:] - truth.boxes[..., :2]
    at_origin = tf.concat([tf.zeros_like(sides), sides], axis=-1)[:, :, None]
    alike = overlap(at_origin, tf.constant(np.concatenate([np.zeros_like(shapes), shapes], axis=1)))
    best = tf.argmax(alike, axis=-1, output_type=tf.int32)
    first, facts = 0, []
    for stride, (rows, columns), mine in zip(coding.strides, coding.grids, coding.shapes, strict=True):
        facts += [(stride, rows, columns, first, len(mine), number) for number in range(len(mine))]
        first += rows * columns * len(mine)
    stride, rows, columns, first, count, number = tf.unstack(tf.gather(tf.constant(facts, tf.int32), best), axis=-1)
    centres = (truth.boxes[..., :2] + truth.boxes[..., 2:]) / 2
    cell = tf.cast(centres / tf.cast(stride, tf.float32)[..., None], tf.int32)
    row, column = tf.clip_by_value(cell[..., 0], 0, rows - 1), tf.clip_by_value(cell[..., 1], 0, columns - 1)
    return first + (row * columns + column) * count + number
