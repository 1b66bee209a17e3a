"""Files of embeddings as MediaPipe's ImageEmbedder opens them."""
import keras
import numpy as np
import pytest

import models
from export.conversion import convert
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tflite import phone
from export.tflite.metadata import Description, read
from tests.export.tflite.test_metadata import MEDIAPIPE, mediapipe

SIDE, SIZE, IMAGES = 32, 16, 40
SIGNATURE = Signature(inputs=(Tensor(name="image", dtype="float32", shape=(SIDE, SIDE, 3), role="image"),),
                      outputs=(Tensor(name="embedding", dtype="float32", shape=(SIZE,), role="embedding"),))
ABOUT = Description(name="faces", task="face_recognition", version="1.0.0", signature=SIGNATURE)
EMBED = """
import sys
import mediapipe
import numpy
from mediapipe.tasks.python import BaseOptions, vision
path, images, embeddings = sys.argv[1:]
options = vision.ImageEmbedderOptions(base_options=BaseOptions(model_asset_path=path))
with vision.ImageEmbedder.create_from_options(options) as embedder:
    found = [embedder.embed(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)).embeddings[0]
             for image in numpy.load(images)]
    numpy.save(embeddings, numpy.stack([one.embedding for one in found]))
    print(found[0].head_name or "")
"""


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3)).astype("uint8")


@pytest.fixture(scope="module")
def files(tmp_path_factory, images):
    """Return a float and an integer file of a model of embeddings, ready for phones."""
    keras.utils.set_random_seed(1)
    model = models.build("mobilefacenet", input_shape=(SIDE, SIDE, 3), width=0.125, size=SIZE, skip_halvings=2)
    folder = tmp_path_factory.mktemp("embedder")
    convert.float_graph(model, lambda plain: [graph.function(plain, SIGNATURE)], folder / "graph")
    written = {}
    for variant, calibration in (("float32", None), ("int8", [(DEFAULT, {"image": images})])):
        written[variant] = folder / f"{variant}.tflite"
        written[variant].write_bytes(phone.ready(convert.convert(folder / "graph", variant, calibration), ABOUT))
    return written


def test_a_file_of_embeddings_has_metadata_without_classes(files):
    for path in files.values():
        described = read(path.read_bytes())
        assert described.name == "faces" and described.labels == []


@pytest.mark.slow
@pytest.mark.skipif(not MEDIAPIPE.is_dir(), reason="MediaPipe is not here; make .venv/.mediapipe brings it")
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipe_gives_the_same_embeddings(files, images, tmp_path, variant):
    np.save(tmp_path / "images.npy", images)
    mediapipe(EMBED, files[variant], tmp_path / "images.npy", tmp_path / "embeddings.npy")
    given = np.load(tmp_path / "embeddings.npy")
    expected = LiteRTPredictor(files[variant]).predict({"image": images})["embedding"]
    assert given.shape == (IMAGES, SIZE)
    lengths = np.linalg.norm(given, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((given * expected).sum(axis=1) / lengths).min() >= 0.999
