"""From what a detector gives to the boxes that it finds."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from etils import epy

from export.signature import Arrays, Tensor
from export.tflite.detection import BOXES, CLASSES, COUNT, SCORES
from models.box_coding import BoxCoding

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What is compared of what is found.
NUMBERS = (BOXES, SCORES)


def tensors(most: int) -> tuple[Tensor, ...]:
    """Return what `found` gives, for one image.

    Args:
        most: boxes of an image, at most.
    """
    return (Tensor(name=BOXES, dtype="float32", shape=(most, 4), role="boxes",
                   meaning="ymin, xmin, ymax, xmax as shares of the image, best first"),
            Tensor(name=SCORES, dtype="float32", shape=(most,), role="scores", meaning="0 to 1"),
            Tensor(name=CLASSES, dtype="int32", shape=(most,), meaning="the class, in the order of labels.txt"),
            Tensor(name=COUNT, dtype="int32", shape=(), role="length", meaning="how many of the rows are boxes"))


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
    boxes = shares(coding, outputs)
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        boxes[:, :, None] if len(boxes.shape) == 3 else boxes, coding.scores(outputs), most, most, iou, score,
        clip_boxes=False)
    return {BOXES: boxes, SCORES: scores, CLASSES: tf.cast(classes, tf.int32), COUNT: count}


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


def paired(outputs: Arrays, expected: Arrays) -> dict[str, np.ndarray]:
    """Return what is found in the order of what is expected: each expected box with the nearest found one of its class,
    zeros where there is none."""
    result = {name: np.zeros(np.shape(expected[name])) for name in NUMBERS}
    found, wanted = list(of_images(outputs)), list(of_images(expected))
    for image, ((boxes, scores, classes), (sides, _, numbers)) in enumerate(zip(found, wanted, strict=True)):
        free = np.ones(len(boxes), bool)
        for row, (box, number) in enumerate(zip(sides, numbers, strict=True)):
            apart = np.abs(boxes - box).max(axis=1, initial=0) + np.where(free & (classes == number), 0.0, np.inf)
            if len(apart) and np.isfinite(apart.min()):
                nearest = int(apart.argmin())
                free[nearest] = False
                result[BOXES][image, row], result[SCORES][image, row] = boxes[nearest], scores[nearest]
    return result


def of_images(outputs: Arrays) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give, image by image, the boxes (boxes, 4), their scores and their classes."""
    for boxes, scores, classes, count in zip(outputs[BOXES], outputs[SCORES], outputs[CLASSES],
                                             np.reshape(outputs[COUNT], -1), strict=True):
        known = int(count)
        yield boxes[:known], scores[:known], classes[:known].astype(int)
