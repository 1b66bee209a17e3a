"""From what a detector gives to the boxes that it finds."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epy

from export.signature import Arrays, Tensor
from export.tflite.detection import (
    BOXES,
    CLASSES,
    COUNT,
    HALF,
    KEY_POINTS,
    SCORES,
    Decoding,
    Kind,
    Level,
    overlaps,
)
from models.anchors import AnchorCells, AnchorGrids, Anchors
from models.box_coding import LONGEST, BoxCoding, Levels, Points
from models.regions import Regions

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What is compared of what is found.
NUMBERS = (BOXES, SCORES)
#: How far a side may be from the trained model's, as a share of the image; overlaps differ by as much.
ROUNDING = 1e-3
#: How networks write boxes, to what that is called.
KINDS: dict[type[BoxCoding], Kind] = {Points: "points", Anchors: "anchors", AnchorCells: "cells", Regions: "regions"}


def tensors(most: int, points: int = 0) -> tuple[Tensor, ...]:
    """Return what `found` gives, for one image.

    Args:
        most: boxes of an image, at most.
        points: key points of a box.
    """
    of_points = (Tensor(name=KEY_POINTS, dtype="float32", shape=(most, points, 2), tolerance=ROUNDING,
                        meaning="y and x of each box's key points as shares of the image"),) if points else ()
    return (*of_points, Tensor(name=BOXES, dtype="float32", shape=(most, 4), role="boxes", tolerance=ROUNDING,
                   meaning="ymin, xmin, ymax, xmax as shares of the image, best first"),
            Tensor(name=SCORES, dtype="float32", shape=(most,), role="scores", tolerance=ROUNDING, meaning="0 to 1"),
            Tensor(name=CLASSES, dtype="int32", shape=(most,), meaning="the class, in the order of labels.txt"),
            Tensor(name=COUNT, dtype="int32", shape=(), role="length", meaning="how many of the rows are boxes"))


def driver(coding: BoxCoding, most: int, iou: float, threshold: float, names: Sequence[str] = ()) -> Decoding:
    """Return what an app must know to make boxes of what the network gives.

    Args:
        most, iou, threshold: see `Decoding`.
        names: of the key points, in their order, where they are known.
    """
    kind = next((kind for known, kind in KINDS.items() if isinstance(coding, known)), None)
    levels: tuple[Level, ...] = ()
    if isinstance(coding, Levels):
        shapes = coding.shapes if isinstance(coding, AnchorGrids) else ((),) * len(coding.strides)
        levels = tuple(Level(rows=rows, columns=columns, stride=stride, shapes=of_level) for (rows, columns), stride,
                       of_level in zip(coding.grids, coding.strides, shapes, strict=True))
    bins = coding.bins if isinstance(coding, Points) else 1
    variances = coding.variances if isinstance(coding, Anchors | Regions) else (1.0, 1.0)
    return Decoding(size=coding.size, levels=levels, bins=bins, most=most, iou=iou, threshold=threshold, kind=kind,
                    variances=variances, longest=LONGEST, key_points=coding.point_count,
                    point_names=tuple(names) if coding.point_count else ())


def coding_of(decoding: Decoding) -> BoxCoding:
    """Return how a network's boxes are read out of what an app knows, of points and anchors.

    Raises:
        ValueError: they are told from something else.
    """
    strides = tuple(level.stride for level in decoding.levels)
    if decoding.kind == "points":
        return Points(decoding.size, strides, decoding.bins)
    shapes = tuple(level.shapes for level in decoding.levels)
    if decoding.kind == "anchors":
        return Anchors(decoding.size, strides, shapes, decoding.variances, decoding.key_points)
    raise ValueError(f"boxes that are told from {decoding.kind or 'something else'} are read by their run alone")


def found(coding: BoxCoding, outputs: Mapping[str, Any], *, most: int, iou: float, score: float) -> dict[str, Any]:
    """Return the boxes that are found, of each class those that no better one overlaps.

    Args:
        coding: how the network's boxes are read.
        outputs: of the network, float32 (batch, places, …).
        most: boxes of an image, at most.
        iou: two boxes of one class that overlap more are one thing.
        score: boxes below are left out.

    Returns:
        Tensors by the names of `tensors`, (batch, most, …); rows behind the last box are 0.
    """
    every, every_score = shares(coding, outputs), coding.scores(outputs)
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        every[:, :, None] if len(every.shape) == 3 else every, every_score, most, most, iou, score, clip_boxes=False)
    result = {BOXES: boxes, SCORES: scores, CLASSES: tf.cast(classes, tf.int32), COUNT: count}
    if coding.point_count:
        points = coding.read_points(outputs) / np.array(coding.size, "float32")
        result[KEY_POINTS] = _points_of(result, every, every_score, points)
    return result


def _points_of(found: Mapping[str, Any], every: Any, scores: Any, points: Any) -> Any:
    """Return the key points of the boxes that are found, (batch, most, points, 2); 0 behind the last.

    Suppression does not say which places it took: each box and its score are a copy of one of all. Boxes that are cut
    to the image may be alike, their scores are not.

    Args:
        found: boxes (batch, most, 4), their scores and classes (batch, most), and how many there are (batch,).
        every: (batch, places, 4).
        scores: (batch, places, classes).
        points: of all boxes, (batch, places, points, 2).
    """
    def of_image(parts: tuple[Any, ...]) -> Any:
        boxes, values, classes, count, all_boxes, all_scores, all_points = parts
        apart = tf.reduce_max(tf.abs(boxes[:, None] - all_boxes), axis=-1)
        apart += tf.abs(values[:, None] - tf.gather(tf.transpose(all_scores), classes))
        own = tf.gather(all_points, tf.argmin(apart, axis=-1))
        return tf.where((tf.range(tf.shape(boxes)[0]) < count)[:, None, None], own, 0.0)

    # image by image: all boxes of one are compared with all that are found in it
    return tf.map_fn(of_image, (found[BOXES], found[SCORES], found[CLASSES], found[COUNT], every, scores, points),
                     fn_output_signature=tf.float32)


def shares(coding: BoxCoding, outputs: Mapping[str, Any]) -> Any:
    """Return the boxes of all places, (batch, places, 4) or (batch, places, classes, 4), as shares of the image, cut to
    it."""
    height, width = coding.size
    return tf.clip_by_value(coding.boxes(outputs) / np.array([height, width, height, width], "float32"), 0.0, 1.0)


def one_class_each(boxes: Any, scores: Any) -> tuple[Any, Any]:
    """Return boxes that are of one class each as ones that could be of any, (batch, places * classes, 4), and their
    scores, (batch, places * classes, classes), 0 for all others.

    Args:
        boxes: (batch, places, classes, 4).
        scores: (batch, places, classes).
    """
    places, classes = scores.shape[1:]
    alone = scores[..., None] * tf.eye(classes)
    return tf.reshape(boxes, [-1, places * classes, 4]), tf.reshape(alone, [-1, places * classes, classes])


def paired(outputs: Arrays, expected: Arrays, iou: float, score: float) -> dict[str, np.ndarray]:
    """Return what is found in the order of what is expected: each expected box with the nearest found one of its class
    that overlaps it by half, and behind them those that nobody expected, as far as there is room.

    A box that one has and the other lacks shows in its score, which is 0 in the other, and not in its sides. It does
    not show where rounding may have left it out: where the other has a box of its class that overlaps it by `iou`, or
    all but that; where its score is hardly above `score`; and where the other has as many boxes as there is room for,
    all of them at least as good.

    Args:
        iou: the overlap from which two boxes of one class are one thing.
        score: from which boxes are found.
    """
    others = [KEY_POINTS] if KEY_POINTS in expected and KEY_POINTS in outputs else []
    result = {name: np.array(expected[name], float) for name in (*NUMBERS, *others)}
    for image, (found, wanted) in enumerate(zip(of_images(outputs), of_images(expected), strict=True)):
        room = len(result[SCORES][image])
        boxes, scores, classes = found
        free = np.ones(len(boxes), bool)
        for row, (box, value, number) in enumerate(zip(*wanted, strict=True)):
            near = free & (classes == number) & (overlaps(box, boxes) >= HALF)
            if near.any():
                nearest = int(np.where(near, np.abs(boxes - box).max(axis=1), np.inf).argmin())
                free[nearest] = False
                result[BOXES][image, row], result[SCORES][image, row] = boxes[nearest], scores[nearest]
                for name in others:
                    result[name][image, row] = outputs[name][image, nearest]
            elif _is_missing(box, value, number, found, room, iou, score):
                result[SCORES][image, row] = 0.0
        begin = len(wanted[0])
        for row, one in enumerate(np.flatnonzero(free)[:room - begin], start=begin):
            if _is_missing(boxes[one], scores[one], classes[one], wanted, room, iou, score):
                result[SCORES][image, row] = scores[one]
    return result


def _is_missing(box: np.ndarray, value: float, number: int, others: tuple[np.ndarray, np.ndarray, np.ndarray],
                room: int, iou: float, score: float) -> bool:
    """Return whether a box is missing among others for another reason than rounding, see `paired`.

    Args:
        value, number: its score and its class.
        others: boxes, scores, classes.
        room: how many there may be.
    """
    boxes, scores, classes = others
    least = float(scores.min()) if len(boxes) == room else score
    beside = (overlaps(box, boxes)[classes == number] >= iou - ROUNDING).any()
    return value > least + ROUNDING and not beside


def of_images(outputs: Arrays) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give, image by image, the boxes (boxes, 4), their scores and their classes."""
    for boxes, scores, classes, count in zip(outputs[BOXES], outputs[SCORES], outputs[CLASSES],
                                             np.reshape(outputs[COUNT], -1), strict=True):
        known = int(count)
        yield boxes[:known], scores[:known], classes[:known].astype(int)
