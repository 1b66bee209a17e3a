"""What MediaPipe's ObjectDetector finds in a file that decodes boxes and does not suppress them."""
from __future__ import annotations

from collections.abc import Iterator

from etils import epy

from export.signature import Arrays
from export.tflite.detection import BOXES, CLASSES, COUNT, LOCATION, SCORE, SCORES

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
