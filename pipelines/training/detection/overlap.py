"""How far two boxes overlap, and what losses make of it. Boxes are ymin, xmin, ymax, xmax, in any unit."""
from __future__ import annotations

import math
from typing import Any, Literal

from etils import epy

with epy.lazy_imports():
    import tensorflow as tf

#: intersection over union, generalized (Rezatofighi et al. 2019), by the distance of the centres, and by their aspect
#: ratio too (Zheng et al. 2020).
Kind = Literal["iou", "giou", "diou", "ciou"]
EPSILON = 1e-7


def areas(boxes: Any) -> Any:
    """Return the areas of boxes, (…, 4) to (…)."""
    return tf.reduce_prod(tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def overlap(boxes: Any, others: Any, kind: Kind = "iou") -> Any:
    """Return how far boxes overlap, pair by pair: 1 where two are the same.

    Args:
        boxes, others: (…, 4), of shapes that broadcast.
    """
    # side by side: pairs of many boxes take much memory
    height, width = (tf.maximum(tf.minimum(boxes[..., axis + 2], others[..., axis + 2])
                                - tf.maximum(boxes[..., axis], others[..., axis]), 0.0) for axis in (0, 1))
    shared = height * width
    union = areas(boxes) + areas(others) - shared
    iou = shared / (union + EPSILON)
    if kind == "iou":
        return iou
    around = tf.maximum(boxes[..., 2:], others[..., 2:]) - tf.minimum(boxes[..., :2], others[..., :2])
    if kind == "giou":
        hull = tf.reduce_prod(around, axis=-1)
        return iou - (hull - union) / (hull + EPSILON)
    apart = (boxes[..., :2] + boxes[..., 2:] - others[..., :2] - others[..., 2:]) / 2
    distance = tf.reduce_sum(apart**2, axis=-1) / (tf.reduce_sum(around**2, axis=-1) + EPSILON)
    if kind == "diou":
        return iou - distance
    ratio = (4 / math.pi**2) * (_angle(others) - _angle(boxes))**2
    weight = tf.stop_gradient(ratio / (1 - iou + ratio + EPSILON))
    return iou - distance - weight * ratio


def _angle(boxes: Any) -> Any:
    """Return the angle whose tangent is a box's width over its height."""
    return tf.atan2(boxes[..., 3] - boxes[..., 1], boxes[..., 2] - boxes[..., 0] + EPSILON)
