"""Detectors whose only output holds boxes and scores, as two outputs."""
import numpy as np
import pytest
import tensorflow as tf

from export.predictors import LiteRTPredictor
from export.tflite import edit, heads, signatures
from export.tflite import file as tflite_file
from tests.export.tflite.test_joined import converted

CLASSES, SIDE = 3, 8
IMAGES = np.random.default_rng(0).uniform(0, 1, (6, SIDE, SIDE, 3)).astype("float32")
KERNEL = tf.constant(np.random.default_rng(1).normal(size=(3, 4 + 1 + CLASSES)), tf.float32)


def parts(image):
    """Return boxes, how likely there is anything, and scores, (1, places, …)."""
    values = tf.reshape(tf.reshape(image, (SIDE * SIDE, 3)) @ KERNEL, (1, SIDE * SIDE, 8))
    return tf.nn.relu(values[..., :4]) * 30, tf.sigmoid(values[..., 4:5]), tf.sigmoid(values[..., 5:])


def columns(image):
    """As YOLOv8: (1, 4 + classes, places)."""
    boxes, _, scores = parts(image)
    return tf.concat([tf.transpose(boxes, (0, 2, 1)), tf.transpose(scores, (0, 2, 1))], axis=1)


def rows(image):
    """As YOLOv5, level after level: (1, places, 5 + classes)."""
    boxes, likely, scores = parts(image)
    levels = [slice(0, 48), slice(48, 64)]
    return tf.concat([tf.concat([boxes[:, level, :2], boxes[:, level, 2:], tf.concat(
        [likely[:, level], scores[:, level]], -1)], -1) for level in levels], 1)


def turned(image):
    """As rows, with boxes and scores joined before the axes are put in order."""
    return tf.transpose(columns(image), (0, 2, 1))


def one_tensor(image):
    """Boxes and scores come out of one multiplication."""
    return tf.reshape(tf.reshape(image, (SIDE * SIDE, 3)) @ KERNEL[:, :7], (1, SIDE * SIDE, 7))


@pytest.mark.parametrize(("call", "objectness", "apart"), [
    (columns, False, True), (rows, True, True), (turned, False, True), (one_tensor, False, False)])
def test_boxes_and_scores_are_apart(call, objectness, apart, tmp_path):
    content = converted(lambda image: {"out": call(image)}, tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32, "image"))
    content = edit.normalized(content, 1.0, 0.0)
    separated, whole = heads.separated(content, CLASSES, objectness, ("boxes", "logits"))
    assert whole is apart
    (tmp_path / "m.tflite").write_bytes(separated)
    given = LiteRTPredictor(tmp_path / "m.tflite").predict({"image": IMAGES})
    joined = np.concatenate([np.asarray(call(tf.constant(image[None]))) for image in IMAGES])
    expected = joined if joined.shape[1] == SIDE * SIDE else joined.transpose(0, 2, 1)
    scores = expected[..., 4:]
    if objectness:
        scores = scores[..., :1] * scores[..., 1:]
    np.testing.assert_allclose(given["boxes"], expected[..., :4], atol=1e-4)
    np.testing.assert_allclose(given["logits"], scores, atol=1e-5)
    assert ("SLICE" in tflite_file.operators(separated)) is not apart or call is rows, "what is joined is not cut"
    assert set(signatures.main(separated).outputs) == {"boxes", "logits"}


@pytest.mark.parametrize(("shape", "axis"), [((1, 7, 100), 1), ((1, 100, 7), 2), ((1, 7, 7), 1)])
def test_the_numbers_of_a_box_are_found(shape, axis):
    assert heads.axis_of(shape, 7) == axis


@pytest.mark.parametrize("shape", [(1, 8, 100), (1, 700), (1, 2, 3, 7)])
def test_another_output_is_refused(shape):
    with pytest.raises(ValueError, match=r"it must be \(1, 7, places\) or \(1, places, 7\)"):
        heads.axis_of(shape, 7)
