"""From what a detector gives to the boxes that it finds."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from etils import epy

from export.signature import Arrays, Tensor
from export.tflite.detection import BOXES, CLASSES, COUNT, SCORES
from models.box_coding import Points

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What the network gives.
RAW_BOXES, RAW_LOGITS = "boxes", "logits"
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


def found(coding: Points, outputs: Mapping[str, Any], *, most: int, iou: float, score: float) -> dict[str, Any]:
    """Return the boxes that are found, of each class those that no better one overlaps.

    Args:
        coding: how the network's boxes are read.
        outputs: of the network, float32 (batch, points, …).
        most: boxes of an image, at most.
        iou: two boxes of one class that overlap more are one thing.
        score: boxes below are left out.

    Returns:
        Tensors by the names of `tensors`, (batch, most, …); rows behind the last box are 0.
    """
    boxes = shares(coding, outputs[RAW_BOXES])
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        boxes[:, :, None], tf.sigmoid(outputs[RAW_LOGITS]), most, most, iou, score,
        clip_boxes=False)
    return {BOXES: boxes, SCORES: scores, CLASSES: tf.cast(classes, tf.int32), COUNT: count}


def shares(coding: Points, boxes: Any) -> Any:
    """Return boxes (batch, points, 4) as shares of the image, cut to it, out of what the network gives."""
    height, width = coding.size
    return tf.clip_by_value(coding.decode(boxes) / np.array([height, width, height, width], "float32"), 0.0, 1.0)


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
