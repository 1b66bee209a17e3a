"""Boxes that a file gives itself: as many as it says, and none without a score."""
import numpy as np
import pytest

from export.predictors import LiteRTPredictor
from export.tflite import detection
from models.anchors import Anchors
from models.regions import Regions
from pipelines.tasks.object_detection import detections

COUNT, CLASSES, MOST = 6, 5, 20
CODING = Regions((64, 64), Anchors((64, 64), (16,), (((16.0, 16.0),),)), COUNT)


@pytest.mark.parametrize("score", [0.0, 0.01])
def test_of_boxes_that_are_of_one_class_each_the_others_are_no_answers(score, tmp_path):
    """There are three regions of five classes each; the other rows of the network are none."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 30, (1, COUNT, 2)).astype("float32")
    outputs = {"proposals": np.concatenate([corners, corners + 20], axis=-1),
               "boxes": np.zeros((1, COUNT, 4 * (CLASSES + 1)), "float32"),
               "logits": generator.normal(size=(1, COUNT, CLASSES + 1)).astype("float32") * 0.1}
    outputs["logits"][0, :3, 4] = 9
    outputs["proposals"][0, 3:] = 0
    behind = detection.PostProcessing(
        detections.driver(CODING, most=MOST, iou=0.5, threshold=0.3),
        lambda given: detections.one_class_each(detections.shares(CODING, given), CODING.scores(given)),
        {name: values.shape[1:] for name, values in outputs.items()}, COUNT * CLASSES, CLASSES,
        detections.tensors(MOST), score=score)
    (tmp_path / "boxes.tflite").write_bytes(detection._file(behind))
    given = LiteRTPredictor(tmp_path / "boxes.tflite").predict(outputs)
    (_, scores, classes), = detections.of_images(given)
    assert (scores > score).all() and (classes[:3] == 3).all()
    assert (given[detection.SCORES][0, len(scores):] == 0).all()
    expected = {name: np.asarray(value) for name, value in detections.found(
        CODING, outputs, most=MOST, iou=0.5, score=score).items()}
    assert given[detection.COUNT] == expected[detection.COUNT]
    np.testing.assert_allclose(given[detection.SCORES], expected[detection.SCORES], atol=1e-5)
