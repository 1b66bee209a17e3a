"""How far the key points that a detector answers are from the true ones."""
from __future__ import annotations

from etils import epy

from export.signature import Arrays
from pipelines.features import boxes as feature
from pipelines.tasks.object_detection import detections

with epy.lazy_imports():
    import numpy as np

#: The overlap from which a box counts as found.
FOUND = 0.5
#: The metrics, see `KeyPoints`.
ERROR, SHARE = "key_point_error", "key_point_boxes"


class KeyPoints:
    """Collects the distances of key points in boxes that are found.

    Of each true box with marked key points the likeliest answer of its class counts that overlaps it by one half.

    Args:
        size: height and width of the image in pixels, which distances are measured in.
        score: boxes below are no answers.
    """

    def __init__(self, size: tuple[int, int], score: float):
        self.size = np.array(size, float)
        self.score = score
        self.boxes = 0
        self.errors: list[float] = []

    def add(self, targets: np.ndarray, outputs: Arrays) -> None:
        """Take the true boxes of a batch, (batch, most, …), and what is found."""
        for rows, points, (boxes, scores, classes) in zip(targets, outputs[detections.KEY_POINTS],
                                                          detections.of_images(outputs), strict=True):
            true = feature.held(rows)
            for row, marked in zip(true, feature.points_of(true), strict=True):
                known = marked[:, 2] > 0
                if not known.any() or row[feature.CROWD]:
                    continue
                self.boxes += 1
                near = (detections.overlaps(row[:4], boxes) >= FOUND) & (classes == row[feature.CLASS]) & (
                    scores >= self.score)
                if not near.any():
                    continue
                apart = np.linalg.norm((points[near.argmax()] - marked[:, :2])[known] * self.size, axis=1)
                side = np.sqrt(((row[2:4] - row[:2]) * self.size).prod())
                self.errors.append(float(apart.mean() / side))

    def result(self) -> dict[str, float]:
        """Return the mean distance as a share of the square root of the box's area, and of which share of the boxes it
        is; nothing where there are none, and no mean where none is found."""
        if not self.boxes:
            return {}
        return ({ERROR: float(np.mean(self.errors))} if self.errors else {}) | {SHARE: len(self.errors) / self.boxes}
