"""Which points of an image answer for which of its boxes, while a detector learns."""
from __future__ import annotations

import dataclasses
from typing import Any

from etils import epy

from pipelines.training.detection.image_by_image import image_by_image
from pipelines.training.detection.overlap import overlap

with epy.lazy_imports():
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is true of a batch of images.

    Args:
        boxes: (batch, most, 4), ymin, xmin, ymax, xmax in pixels.
        classes: (batch, most), whole numbers; any where there is no box.
        present: (batch, most), whether there is a box that counts.
        crowds: (batch, most), whether there is a crowd: what is found in it is neither right nor wrong.
        points: key points, (batch, most, points, 3): y and x in pixels, and 1 where it is marked; None where boxes have
            none.
    """

    boxes: Any
    classes: Any
    present: Any
    crowds: Any
    points: Any = None

    @property
    def parts(self) -> tuple[Any, Any, Any, Any]:
        """Return all of it, in this order."""
        return self.boxes, self.classes, self.present, self.crowds


@dataclasses.dataclass(frozen=True)
class Assigned:
    """What each point is to answer.

    Args:
        scores: (batch, points, classes), 0 to 1; all 0 where a point is to find nothing.
        boxes: (batch, points, 4), in pixels; any where a point is to find nothing.
        chosen: (batch, points), 1 where a point is to find a box, else 0.
    """

    scores: Any
    boxes: Any
    chosen: Any


def task_aligned(truth: Truth, points: Any, scores: Any, boxes: Any, *, most: int = 10, alpha: float = 0.5,
                 beta: float = 6.0) -> Assigned:
    """Return what each point is to answer: for each box the points inside it that answer best already (Feng et al.,
    "TOOD: Task-aligned One-stage Object Detection", 2021).

    How well is score**alpha * IoU**beta, of the box's class and of the point's own box. The score that is asked for is
    that, scaled so that the best point of a box is to score the box's best IoU. A box with no point inside has its
    nearest one. Points that answer equally well as the last that is taken are taken too.

    Args:
        points: (points, 2), y and x in pixels.
        scores: (batch, points, classes), 0 to 1.
        boxes: (batch, points, 4), what the points answer, in pixels.
        most: points of a box.
    """
    def of_images(boxes: Any, scores: Any, *parts: Any) -> tuple[Any, Any, Any]:
        assigned = _aligned(Truth(*parts), points, scores, boxes, most, alpha, beta)
        return assigned.scores, assigned.boxes, assigned.chosen

    return Assigned(*image_by_image(of_images, (boxes, scores, *truth.parts), (tf.float32,) * 3,
                                    truth.boxes.shape[1] * points.shape[0]))


def in_crowds(truth: Truth, points: Any) -> Any:
    """Return 1 where a point is in a crowd, else 0: (batch, points).

    Args:
        points: (points, 2), or of each image (batch, points, 2), y and x in pixels.
    """
    own = () if len(points.shape) == 2 else (points,)

    def of_images(boxes: Any, crowds: Any, *own: Any) -> tuple[Any]:
        inside = within(boxes, own[0] if own else points) & crowds[..., None]
        return (tf.cast(tf.reduce_any(inside, axis=1), tf.float32),)

    return image_by_image(of_images, (truth.boxes, truth.crowds, *own), (tf.float32,),
                          truth.boxes.shape[1] * points.shape[-2])[0]


def within(boxes: Any, points: Any) -> Any:
    """Return whether a point is inside a box, (batch, most, points).

    Args:
        boxes: (batch, most, 4), in pixels.
        points: (points, 2), or of each image (batch, points, 2), y and x in pixels.
    """
    y, x = tf.unstack(points[:, None] if len(points.shape) == 3 else points[None, None], axis=-1)
    top, left, bottom, right = tf.unstack(boxes[:, :, None], axis=-1)
    return (y > top) & (y < bottom) & (x > left) & (x < right)


def _aligned(truth: Truth, points: Any, scores: Any, boxes: Any, most: int, alpha: float, beta: float) -> Assigned:
    """Return what `task_aligned` does, in as much memory as the whole batch takes."""
    classes, count = scores.shape[-1], points.shape[0]
    allowed = _inside(truth, points)
    iou = tf.maximum(overlap(truth.boxes[:, :, None], boxes[:, None]), 0.0)
    of_class = tf.gather(tf.transpose(scores, [0, 2, 1]), truth.classes, axis=1, batch_dims=1)
    aligned = of_class**alpha * iou**beta * allowed
    ranked = tf.where(allowed > 0, aligned, -1.0)
    enough = tf.math.top_k(ranked, min(most, count)).values[..., -1:]
    best = tf.cast((ranked >= tf.maximum(enough, 0.0)) & (allowed > 0), tf.float32)
    of_box = _one_box_each(best, iou)
    aligned = aligned * of_box
    largest = tf.reduce_max(aligned, axis=2, keepdims=True)
    shares = tf.math.divide_no_nan(aligned, largest) * tf.reduce_max(iou * of_box, axis=2, keepdims=True)
    wanted = tf.reduce_max(shares, axis=1)
    chosen = tf.reduce_max(of_box, axis=1)
    owner = tf.argmax(of_box, axis=1)
    one_hot = tf.one_hot(tf.gather(truth.classes, owner, axis=1, batch_dims=1), classes)
    return Assigned(one_hot * (wanted * chosen)[..., None], tf.gather(truth.boxes, owner, axis=1, batch_dims=1), chosen)


def _inside(truth: Truth, points: Any) -> Any:
    """Return 1 where a point is inside a box, or nearest to one without a point, else 0: (batch, most, points)."""
    inside = tf.cast(within(truth.boxes, points), tf.float32)
    centres = (truth.boxes[..., :2] + truth.boxes[..., 2:]) / 2
    distance = (centres[..., :1] - points[:, 0])**2 + (centres[..., 1:] - points[:, 1])**2
    nearest = tf.one_hot(tf.argmin(distance, axis=-1), points.shape[0])
    alone = tf.cast(tf.reduce_sum(inside, axis=-1, keepdims=True) == 0, tf.float32)
    return tf.maximum(inside, nearest * alone) * tf.cast(truth.present, tf.float32)[..., None]


def _one_box_each(best: Any, iou: Any) -> Any:
    """Return which points answer for which box, (batch, most, points), no point for two: for the one that it overlaps
    most."""
    several = tf.reduce_sum(best, axis=1, keepdims=True) > 1
    nearest = tf.one_hot(tf.argmax(iou * best, axis=1), best.shape[1], axis=1)
    return tf.where(several, nearest * best, best)
