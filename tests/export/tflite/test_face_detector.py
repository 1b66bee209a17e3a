"""Files of face detectors as MediaPipe's FaceDetector opens them."""
import json

import numpy as np
import pytest
import tensorflow as tf

from export.predictors import LiteRTPredictor
from export.signature import Signature, Tensor
from export.tflite import detection, phone
from export.tflite.metadata import Description
from models.anchors import Anchors
from pipelines.tasks.object_detection import detections
from pipelines.tasks.object_detection import mediapipe as mediapipe_found
from tests.export.tflite.test_joined import converted
from tests.export.tflite.test_metadata import MEDIAPIPE, mediapipe

SIDE, IMAGES, LEAST = 128, 40, 0.5
CODING = Anchors((SIDE, SIDE), (16,), (((24.0, 24.0), (40.0, 40.0)),), key_points=6)
FIND = f"""
import json, sys
import mediapipe
import numpy
from mediapipe.tasks.python import BaseOptions, vision
path, images = sys.argv[1:]
options = vision.FaceDetectorOptions(base_options=BaseOptions(model_asset_path=path), min_detection_confidence={LEAST})
with vision.FaceDetector.create_from_options(options) as detector:
    for image in numpy.load(images):
        found = detector.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)).detections
        print(json.dumps([[[one.bounding_box.origin_y, one.bounding_box.origin_x, one.bounding_box.height,
                            one.bounding_box.width], one.categories[0].score,
                           [[point.y, point.x] for point in one.keypoints]] for one in found]))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A network whose answers depend on the image's mean, with what the FaceDetector reads behind it."""
    generator = np.random.default_rng(0)
    fixed = {"boxes": generator.normal(0, 0.2, (1, CODING.count, 4)), "logits": generator.normal(-7, 4, (
        1, CODING.count, 1)), "key_points": generator.normal(0, 0.3, (1, CODING.count, 12))}
    content = converted(lambda image: {
        name: tf.constant(value, tf.float32) + (1 if name == "logits" else 0.01) * (tf.reduce_mean(image) / 32 - 4)
        for name, value in fixed.items()}, tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32, "image"))
    behind = detection.PostProcessing(
        detections.driver(CODING, most=100, iou=0.3, threshold=LEAST),
        lambda outputs: (detections.shares(CODING, outputs), CODING.scores(outputs)),
        {name: one.shape for name, one in CODING.outputs(1).items()}, CODING.count, 1, detections.tensors(100, 6),
        score=0.01, form="faces", points=lambda outputs: CODING.read_points(outputs) / np.array(CODING.size, "float32"))
    image = Tensor(name="image", dtype="float32", shape=(SIDE, SIDE, 3), role="image")
    about = Description(name="faces", task="object_detection", labels=["face"],
                        signature=Signature(inputs=(image,), outputs=behind.outputs))
    path = tmp_path_factory.mktemp("faces") / "faces.tflite"
    path.write_bytes(phone.ready(detection.with_post_processing(content, behind), about))
    return path


def images():
    return (np.ones((IMAGES, SIDE, SIDE, 3)) * np.linspace(0, 255, IMAGES)[:, None, None, None]).astype("uint8")


def test_the_file_gives_two_tensors_in_mediapipes_order(file):
    outputs = LiteRTPredictor(file).predict({"image": images()[:2]})
    assert [(name, value.shape[1:]) for name, value in outputs.items()] == [
        ("regressors", (896, 16)), ("score_logits", (896, 1))]


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
def test_mediapipe_finds_the_same_faces(file, tmp_path):
    """Its boxes are whole pixels; its key points are shares."""
    np.save(tmp_path / "images.npy", images())
    said = [json.loads(line) for line in mediapipe(FIND, file, tmp_path / "images.npy").splitlines()]
    outputs = LiteRTPredictor(file).predict({"image": images()})
    found = mediapipe_found.faces(outputs, most=100, score=LEAST)
    assert sum(map(len, said)) > 100 and len(set(map(len, said))) > 3
    for given, own, points in zip(said, detections.of_images(found), found[detections.KEY_POINTS], strict=True):
        boxes, scores, _ = own
        assert len(given) == len(scores)
        np.testing.assert_allclose([one[1] for one in given], scores, atol=1e-5)
        sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1) * SIDE
        assert np.abs(np.array([one[0] for one in given]).reshape(-1, 4) - sides).max(initial=0) < 1.01
        np.testing.assert_allclose(np.array([one[2] for one in given]).reshape(-1, 6, 2), points[:len(scores)],
                                   atol=1e-5)
