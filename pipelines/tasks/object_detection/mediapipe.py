"""What MediaPipe's ObjectDetector and its FaceDetector find in files that decode boxes and do not suppress them."""
from __future__ import annotations

from collections.abc import Iterator

from etils import epy

from export.signature import Arrays
from export.tflite.detection import (
    BOXES,
    CLASSES,
    COUNT,
    FACE_UNIT,
    LOCATION,
    REGRESSORS,
    SCORE,
    SCORE_LOGITS,
    SCORES,
    face_anchors,
)
from pipelines.tasks.object_detection.detections import KEY_POINTS, overlaps

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Boxes that overlap more are one thing to it, whatever their classes.
IOU = 0.3


def found(outputs: Arrays, *, most: int, score: float) -> dict[str, np.ndarray]:
    """Return the boxes that MediaPipe finds: of each place the likeliest class alone, and of boxes that overlap the
    best alone, whatever their classes.

    Args:
        outputs: `LOCATION` (batch, places, 4) and `SCORE` (batch, places, classes).
        most: boxes of an image, at most.
        score: boxes below are left out.

    Returns:
        Arrays by the names of `export.tflite.detection.OUTPUTS`, (batch, most, …); rows behind the last box are 0.
    """
    count = len(outputs[LOCATION])
    result = {BOXES: np.zeros((count, most, 4), "float32"), SCORES: np.zeros((count, most), "float32"),
              CLASSES: np.zeros((count, most), "int32"), COUNT: np.zeros(count, "int32")}
    for number, (boxes, scores, classes) in enumerate(_of_images(outputs, most, score)):
        known = len(boxes)
        result[BOXES][number, :known], result[SCORES][number, :known] = boxes, scores
        result[CLASSES][number, :known], result[COUNT][number] = classes, known
    return result


def _of_images(outputs: Arrays, most: int, score: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give, image by image, the boxes (boxes, 4) as ymin, xmin, ymax, xmax, their scores and their classes."""
    for location, scores in zip(outputs[LOCATION], outputs[SCORE], strict=True):
        centres, halves = location[:, :2], location[:, 2:] / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        best = scores.max(axis=1)
        kept = tf.image.non_max_suppression(boxes, best, most, IOU, score).numpy()
        yield boxes[kept], best[kept], scores[kept].argmax(axis=1)


def faces(outputs: Arrays, *, most: int, score: float) -> dict[str, np.ndarray]:
    """Return the faces that MediaPipe's FaceDetector finds: boxes that overlap the best one are joined with it, each
    weighted by its score (Bazarevsky et al., "BlazeFace", 2019, section 3.3), and so are their key points.

    Args:
        outputs: `REGRESSORS` (batch, places, 4 + 2 * points) and `SCORE_LOGITS` (batch, places, 1).
        most: faces of an image, at most.
        score: boxes below are left out.

    Returns:
        Arrays by the names of `detections.tensors`, (batch, most, …); rows behind the last are 0.
    """
    count, points = len(outputs[REGRESSORS]), (outputs[REGRESSORS].shape[-1] - 4) // 2
    result = {BOXES: np.zeros((count, most, 4), "float32"), SCORES: np.zeros((count, most), "float32"),
              CLASSES: np.zeros((count, most), "int32"), COUNT: np.zeros(count, "int32"),
              KEY_POINTS: np.zeros((count, most, points, 2), "float32")}
    anchors = face_anchors()
    for number, (numbers, logits) in enumerate(zip(outputs[REGRESSORS], outputs[SCORE_LOGITS], strict=True)):
        scores = 1 / (1 + np.exp(-logits[:, 0].astype("float64")))
        shares = numbers.astype("float64") / FACE_UNIT
        centres, halves = shares[:, 1::-1] + anchors, shares[:, 3:1:-1] / 2
        places = shares[:, 4:].reshape(-1, points, 2)[..., ::-1] + anchors[:, None]
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        chosen = np.flatnonzero((scores >= score) & (halves >= 0).all(axis=1))
        for row, (box, value, own) in enumerate(_joined(boxes[chosen], scores[chosen], places[chosen], most)):
            result[BOXES][number, row], result[SCORES][number, row], result[KEY_POINTS][number, row] = box, value, own
            result[COUNT][number] = row + 1
    return result


def _joined(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray,
            most: int) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
    """Give boxes, their scores and their key points, the best first: each the mean of those that overlap the best that
    is left."""
    left = np.argsort(-scores, kind="stable")
    for _ in range(most):
        if not len(left):
            return
        near = overlaps(boxes[left[0]], boxes[left]) > IOU
        near[0] = True
        own, weights = left[near], scores[left[near]] / scores[left[near]].sum()
        yield weights @ boxes[own], float(scores[left[0]]), np.tensordot(weights, points[own], 1)
        left = left[~near]
