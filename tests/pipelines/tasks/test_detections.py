"""Which boxes are found, and how they are compared."""
import numpy as np
import pytest

from pipelines.tasks.object_detection import detections, mediapipe
from tests.pipelines.tasks.test_object_detection import FAR, ONE, TWO, answered


def test_mediapipe_takes_one_class_of_a_box_and_the_best_of_those_that_overlap():
    location = np.array([[[0.3, 0.3, 0.4, 0.4], [0.3, 0.4, 0.4, 0.4], [0.3, 0.52, 0.4, 0.4], [0.8, 0.8, 0.2, 0.2]]])
    score = np.array([[[0.6, 0.9], [0.8, 0.1], [0.2, 0.3], [0.04, 0.03]]])
    (boxes, scores, classes), = detections.of_images(
        mediapipe.found({"location": location, "score": score}, most=5, score=0.05))
    assert classes.tolist() == [1, 1] and scores == pytest.approx([0.9, 0.3]), (
        "the second overlaps the first by 0.6, the third by 0.29; the fourth is below the least score")
    np.testing.assert_allclose(boxes, [[0.1, 0.1, 0.5, 0.5], [0.1, 0.32, 0.5, 0.72]], atol=1e-6)


ROUNDED = [0.1, 0.1, 0.5, 0.5002]


@pytest.mark.parametrize(("given", "expected", "error"), [
    ([(ONE, 0.9, 0)], [(ROUNDED, 0.8995, 0)], (2e-4, 5e-4)),
    ([(TWO, 0.4, 0), (ONE, 0.9, 0)], [(ONE, 0.9, 0), (TWO, 0.4, 0)], (0, 0)),
    ([], [(ONE, 0.9, 0)], (0, 0.9)),
    ([(ONE, 0.9, 1)], [(ONE, 0.9, 0)], (0, 0.9)),
    ([(ONE, 0.9, 0), (FAR, 0.7, 1)], [(ONE, 0.9, 0)], (0, 0.7)),
    ([], [(ONE, 0.1004, 0)], (0, 0)),
    ([(ONE, 0.9, 0)], [(ONE, 0.9, 0), ([0.1, 0.1, 0.5, 0.3402], 0.8, 0)], (0, 0)),
    ([(ONE, 0.9, 0)], [(ONE, 0.9, 0), ([0.1, 0.1, 0.5, 0.335], 0.8, 0)], (0, 0.8))])
def test_boxes_are_compared_as_boxes(given, expected, error):
    """A box that one lacks shows in its score, unless rounding may have left it out, by its score or beside another."""
    wanted = answered(*expected)
    paired = detections.paired(answered(*given), wanted, iou=0.6, score=0.1)
    off = [np.abs(paired[name] - wanted[name]).max() for name in ("detection_boxes", "detection_scores")]
    assert off == pytest.approx(list(error), abs=1e-9)
