"""What tests of targets share: the small recipe's files, images such as it learnt, and files that targets refuse."""
import numpy as np
import pytest
from sklearn.datasets import load_digits

from export.predictors import LiteRTPredictor
from tests.export.delivery.conftest import classified, dense

__all__ = ["classified", "dense"]
LABELS = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def run(tiny_run):
    """The folder of the small recipe's run."""
    return tiny_run / "runs" / "tiny" / "latest"


@pytest.fixture(scope="module")
def files(run):
    """Variant's name to its TFLite file, as compression made it."""
    return {path.stem: path for path in (run / "compress").glob("*.tflite")}


@pytest.fixture(scope="session")
def images():
    """Handwritten digits, raw pixels (360, 8, 8, 3)."""
    pixels = np.round(load_digits().images[::5] / 16 * 255).astype("uint8")
    return np.repeat(pixels[..., None], 3, axis=-1)


@pytest.fixture(scope="module")
def logits(files, images):
    """Variant's name to what its TFLite file answers."""
    return {name: LiteRTPredictor(path).predict({"image": images})["logits"] for name, path in files.items()}


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """Convert a function of one image to a TFLite file."""
    import tensorflow as tf

    def convert(function, shape=(1, 8, 8, 3), signature="serving_default", integer=False):
        folder = tmp_path_factory.mktemp("graph")
        module = tf.Module()
        specification = tf.TensorSpec(shape, tf.float32, "image")
        module.answer = tf.function(lambda image: {"logits": function(image)}, input_signature=[specification])
        tf.saved_model.save(module, str(folder), signatures={signature: module.answer})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        if integer:
            generator = np.random.default_rng(0)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([generator.random(shape, dtype=np.float32)] for _ in range(10))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()

    return convert
