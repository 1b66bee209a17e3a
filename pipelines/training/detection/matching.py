"""Which anchors or regions answer for which box, by how far they overlap."""
from __future__ import annotations

import dataclasses
from typing import Any

from etils import epy

from pipelines.training.detection.assigning import Truth, within
from pipelines.training.detection.image_by_image import image_by_image
from pipelines.training.detection.overlap import overlap

with epy.lazy_imports():
    import tensorflow as tf

#: Two overlaps are alike that differ less.
ALIKE = 1e-6


@dataclasses.dataclass(frozen=True)
class Matched:
    """What each place is to answer.

    Args:
        boxes: (batch, places, 4), in pixels; any where a place is to find nothing.
        classes: (batch, places), whole numbers; any where a place is to find nothing.
        found: (batch, places), 1 where a place is to find a box, else 0.
        nothing: (batch, places), 1 where a place is to find nothing; where both are 0, what it says does not count.
        owner: (batch, places), which of the true boxes it is; None where nobody asks.
    """

    boxes: Any
    classes: Any
    found: Any
    nothing: Any
    owner: Any = None


def by_overlap(truth: Truth, places: Any, positive: float, negative: float, best: bool) -> Matched:
    """Return what each place is to answer: for the box that it overlaps most, if that is enough (Girshick et al. 2014).

    A place in the middle of a crowd that is to find nothing does not count.

    Args:
        places: anchors (places, 4), or regions of each image (batch, places, 4), in pixels.
        positive: overlap from which a place answers.
        negative: overlap below which it is to find nothing.
        best: the place that overlaps a box most answers for it in any case (Ren et al. 2015, section 3.1.2).
    """
    own = () if len(places.shape) == 2 else (places,)

    def of_images(*parts: Any) -> tuple[Any, ...]:
        matched = _matched(Truth(*parts[:4]), parts[4] if own else places[None], positive, negative, best)
        return matched.boxes, matched.classes, matched.found, matched.nothing, matched.owner

    kinds = (truth.boxes.dtype, truth.classes.dtype, tf.float32, tf.float32, tf.int64)
    return Matched(*image_by_image(of_images, (*truth.parts, *own), kinds, truth.boxes.shape[1] * places.shape[-2]))


def highest(values: Any, counts: Any) -> Any:
    """Return 1 for so many places with the highest values above 0, else 0: (batch, places). Of places alike the first
    are taken.

    Args:
        values: (batch, places).
        counts: (batch,), whole numbers.
    """
    ordered = tf.sort(values, axis=1, direction="DESCENDING")
    least = tf.gather(ordered, tf.clip_by_value(counts, 1, values.shape[1]) - 1, axis=1, batch_dims=1)[:, None]
    above, alike = values > least, values == least
    left = counts[:, None] - tf.reduce_sum(tf.cast(above, tf.int32), axis=1, keepdims=True)
    taken = above | (alike & (tf.cumsum(tf.cast(alike, tf.int32), axis=1) <= left))
    return tf.cast(taken & (values > 0), tf.float32)


def _matched(truth: Truth, places: Any, positive: float, negative: float, best: bool) -> Matched:
    """Return what `by_overlap` does, in as much memory as the whole batch takes."""
    iou = overlap(truth.boxes[:, :, None], places[:, None]) * tf.cast(truth.present, tf.float32)[..., None]
    most = tf.reduce_max(iou, axis=1)
    owner, found = tf.argmax(iou, axis=1), most >= positive
    if best:
        of_box = tf.reduce_max(iou, axis=2, keepdims=True)
        forced = (iou >= of_box - ALIKE) & (of_box > ALIKE)
        any_forced = tf.reduce_any(forced, axis=1)
        owner = tf.where(any_forced, tf.argmax(iou * tf.cast(forced, tf.float32), axis=1), owner)
        found |= any_forced
    middles = (places[..., :2] + places[..., 2:]) / 2
    crowded = tf.reduce_any(within(truth.boxes, middles) & truth.crowds[..., None], axis=1)
    nothing = tf.cast((most < negative) & ~found & ~crowded, tf.float32)
    return Matched(tf.gather(truth.boxes, owner, axis=1, batch_dims=1),
                   tf.gather(truth.classes, owner, axis=1, batch_dims=1), tf.cast(found, tf.float32), nothing,
                   owner)
