"""One file behind another, and boxes behind a detector's network."""
import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import number_types, table

from export.predictors import LiteRTPredictor
from export.signature import Signature
from export.tflite import detection, metadata, signatures
from export.tflite import file as tflite_file
from export.tflite.joined import joined
from export.tflite.metadata import Description
from models.box_coding import Points
from pipelines.tasks.object_detection import detections
from tests.export.tflite.test_metadata import embedded

GIVEN = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")


def converted(call, *specs, integers=False):
    """Return a function as a TFLite file with a signature."""
    module = tf.Module()
    module.call = tf.function(call, input_signature=specs)
    made = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    if integers:
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.representative_dataset = lambda: ([one[None]] for one in GIVEN)
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        made.inference_input_type = made.inference_output_type = tf.int8
    return made.convert()


@pytest.mark.parametrize("integers", [False, True])
def test_the_second_takes_what_the_first_gives(integers, tmp_path):
    kernel = tf.constant(np.random.default_rng(1).normal(size=(6, 4)), tf.float32)
    first = converted(lambda x: {"a": x @ kernel, "b": tf.nn.relu(x)}, tf.TensorSpec((1, 6), tf.float32, "x"),
                      integers=integers)
    second = converted(lambda b, a: {"sum": tf.reduce_sum(a, 1) + 2.0, "largest": tf.reduce_max(b, 1)},
                       tf.TensorSpec((1, 6), tf.float32, "b"), tf.TensorSpec((1, 4), tf.float32, "a"))
    for name, content in (("first", first), ("both", joined(first, second))):
        (tmp_path / f"{name}.tflite").write_bytes(content)
    between = LiteRTPredictor(tmp_path / "first.tflite").predict({"x": GIVEN})
    given = LiteRTPredictor(tmp_path / "both.tflite").predict({"x": GIVEN})
    np.testing.assert_allclose(given["sum"], between["a"].sum(axis=1) + 2, atol=1e-5)
    np.testing.assert_allclose(given["largest"], between["b"].max(axis=1), atol=1e-6)
    assert ("DEQUANTIZE" in tflite_file.operators(joined(first, second))) == integers


def test_what_does_not_fit_is_refused():
    first = converted(lambda x: {"a": 2 * x}, tf.TensorSpec((1, 6), tf.float32, "x"))
    second = converted(lambda a: {"b": a + 1}, tf.TensorSpec((1, 5), tf.float32, "a"))
    with pytest.raises(ValueError, match=r"a of \(1, 5\) is to come of the first file, which gives a of \(1, 6\)"):
        joined(first, second)


@pytest.fixture(scope="module")
def detector():
    """A network that gives the same boxes and logits of every image, shifted by the image's mean: its file, and what
    stands behind it."""
    coding = Points((32, 48), (8,), 1)
    generator = np.random.default_rng(3)
    boxes = generator.uniform(0.3, 2.0, (1, coding.count, 4)).astype("float32")
    logits = generator.normal(-6, 2, (1, coding.count, 3)).astype("float32")
    content = converted(lambda image: {"boxes": boxes + 0 * tf.reduce_mean(image),
                                       "logits": logits + tf.reduce_mean(image)},
                        tf.TensorSpec((1, 32, 48, 3), tf.float32, "image"))
    behind = detection.PostProcessing(
        detections.driver(coding, most=10, iou=0.5, threshold=0.1),
        lambda outputs: (detections.shares(coding, outputs), coding.scores(outputs)),
        {"boxes": (coding.count, 4), "logits": (coding.count, 3)}, coding.count, 3, detections.tensors(10), score=0.1)
    return coding, content, behind


def test_the_operator_finds_what_tensorflow_does(detector, tmp_path):
    coding, content, behind = detector
    whole = detection.with_post_processing(content, behind)
    for name, one in (("network", content), ("whole", whole)):
        (tmp_path / f"{name}.tflite").write_bytes(one)
    images = np.linspace(-1, 2, 8, dtype="float32")[:, None, None, None] * np.ones((1, 32, 48, 3), "float32")
    given = LiteRTPredictor(tmp_path / "whole.tflite").predict({"image": images})
    outputs = LiteRTPredictor(tmp_path / "network.tflite").predict({"image": images})
    expected = {name: np.asarray(value) for name, value in detections.found(
        coding, outputs, most=10, iou=0.5, score=0.1).items()}
    assert set(given) == set(detection.OUTPUTS)
    np.testing.assert_array_equal(np.ravel(given["num_detections"]), expected["num_detections"])
    assert len(set(expected["num_detections"].tolist())) > 2
    for name, values in detections.paired(given, expected, 0.5, 0.1).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_a_file_may_decode_alone(detector, tmp_path):
    coding, content, behind = detector
    alone = dataclasses.replace(behind, form="decoded")
    for name, one in (("network", content), ("decoding", detection.with_post_processing(content, alone))):
        (tmp_path / f"{name}.tflite").write_bytes(one)
    image = np.full((1, 32, 48, 3), 0.5, "float32")
    outputs = LiteRTPredictor(tmp_path / "network.tflite").predict({"image": image})
    given = LiteRTPredictor(tmp_path / "decoding.tflite").predict({"image": image})
    assert {tensor.name: (1, *tensor.shape) for tensor in alone.outputs} == {
        name: value.shape for name, value in given.items()}
    boxes = np.clip(np.asarray(coding.decode(outputs["boxes"])) / [32, 48, 32, 48], 0, 1)
    np.testing.assert_allclose(given["location"][..., :2], (boxes[..., :2] + boxes[..., 2:]) / 2, atol=1e-6)
    np.testing.assert_allclose(given["location"][..., 2:], boxes[..., 2:] - boxes[..., :2], atol=1e-6)
    np.testing.assert_allclose(given["score"], 1 / (1 + np.exp(-outputs["logits"])), atol=1e-6)
    assert "TFLite_Detection_PostProcess" not in tflite_file.operators((tmp_path / "decoding.tflite").read_bytes())


def test_mediapipe_is_told_how_to_read_decoded_boxes(detector):
    """Of key points there are none, and yet each must have two numbers: MediaPipe ends the process otherwise."""
    coding, content, behind = detector
    alone = dataclasses.replace(behind, form="decoded")
    signature = Signature(inputs=(), outputs=alone.outputs)
    described = metadata.embed(detection.with_post_processing(content, alone),
                               Description(name="d", labels=["a", "b", "c"], signature=signature))
    data = embedded(described)
    assert b"DETECTOR_METADATA" in data
    inner = data[data.index(b"V001") - 4:]
    root = table.Table(inner, int.from_bytes(inner[:4], "little"))
    decoding = table.Table(inner, root.Indirect(root.Offset(8) + root.Pos))
    numbers = [decoding.Get(number_types.Int32Flags, decoding.Offset(4 + 2 * slot) + decoding.Pos)
               for slot in (0, 1, 2, 5)]
    assert numbers == [3, coding.count, 4, 2]


def test_its_metadata_name_what_mediapipe_looks_for(detector):
    _, content, behind = detector
    whole = detection.with_post_processing(content, behind)
    about = Description(name="d", labels=["a", "b", "c"])
    described = metadata.embed(whole, about)
    assert metadata.read(described).labels == ["a", "b", "c"]
    content = bytes(next(model.buffers[entry.buffer].data for model in [tflite_file.read(described)]
                         for entry in model.metadata if entry.name == b"TFLITE_METADATA"))
    assert all(name.encode() in content for name in metadata.DETECTOR.values())
    assert set(signatures.main(described).outputs) == set(detection.OUTPUTS)
