"""Files of segmentation as MediaPipe's ImageSegmenter opens them."""
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import table

from export.conversion import convert
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tflite import phone
from export.tflite.metadata import Description
from tests.export.tflite.test_metadata import MEDIAPIPE, embedded, mediapipe

SIDE = 24
NAMES = ["background", "cat", "dog"]
SIGNATURE = Signature(inputs=(Tensor(name="image", dtype="float32", shape=(SIDE, SIDE, 1), role="image"),),
                      outputs=(Tensor(name="logits", dtype="float32", shape=(SIDE, SIDE, 3), role="logits"),))
ABOUT = Description(name="pets", task="semantic_segmentation", version="1.0.0", labels=NAMES, signature=SIGNATURE)
SEGMENT = """
import json, sys
import mediapipe
import numpy
from mediapipe.tasks.python import BaseOptions, vision
path, image, masks = sys.argv[1:]
options = vision.ImageSegmenterOptions(base_options=BaseOptions(model_asset_path=path), output_category_mask=True,
                                       output_confidence_masks=True)
with vision.ImageSegmenter.create_from_options(options) as segmenter:
    found = segmenter.segment(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=numpy.load(image)))
    numpy.savez(masks, category=found.category_mask.numpy_view(),
                confidence=numpy.stack([numpy.squeeze(one.numpy_view()) for one in found.confidence_masks], -1))
    print(json.dumps(list(segmenter.labels)))
"""


@pytest.fixture(scope="module")
def images():
    """Return noisy images whose halves are dark and bright."""
    noise = np.random.default_rng(0).normal(0, 20, (20, SIDE, SIDE, 1))
    return np.clip(60 + 120 * (np.arange(SIDE) > SIDE // 2)[None, None, :, None] + noise, 0, 255).astype("uint8")


@pytest.fixture(scope="module")
def files(tmp_path_factory, images):
    """Return a float and an integer file of a model whose classes are dark, bright and between, ready for phones."""
    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    head = keras.layers.Conv2D(3, 1, name="logits")
    model = keras.Model(image, head(x))
    head.set_weights([np.array([[[[-8.0, 8.0, 0.5]]]]), np.array([4.0, -4.0, 0.0])])
    folder = tmp_path_factory.mktemp("segmenter")
    convert.float_graph(model, lambda plain: [graph.function(plain, SIGNATURE)], folder / "graph")
    written = {}
    for variant, calibration in (("float32", None), ("int8", [(DEFAULT, {"image": images})])):
        written[variant] = folder / f"{variant}.tflite"
        written[variant].write_bytes(phone.ready(convert.convert(folder / "graph", variant, calibration), ABOUT))
    return written


def test_a_file_says_that_its_logits_want_a_softmax(files):
    data = embedded(files["float32"].read_bytes())
    assert b"SEGMENTER_METADATA" in data
    position = data.index(b"V001") - 4
    assert position % 16 == 0, "readers want the flatbuffer inside at multiples of 16"
    inner = data[position:]
    root = table.Table(inner, int.from_bytes(inner[:4], "little"))
    assert inner[root.Offset(4) + root.Pos] == 2  # Activation.SOFTMAX


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
@pytest.mark.parametrize(("variant", "tolerance"), [("float32", 1e-5), ("int8", 0.02)])
def test_mediapipe_gives_the_softmax_and_the_largest(files, images, tmp_path, variant, tolerance):
    rgb = np.repeat(images[0], 3, axis=-1)
    np.save(tmp_path / "image.npy", rgb)
    labels = json.loads(mediapipe(SEGMENT, files[variant], tmp_path / "image.npy", tmp_path / "masks.npz"))
    assert labels == NAMES
    logits = LiteRTPredictor(files[variant]).predict({"image": rgb[None]})["logits"][0]
    with np.load(tmp_path / "masks.npz") as masks:
        np.testing.assert_allclose(masks["confidence"], tf.nn.softmax(logits), atol=tolerance)
        np.testing.assert_array_equal(np.squeeze(masks["category"]), logits.argmax(-1))
