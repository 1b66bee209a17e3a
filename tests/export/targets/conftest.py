"""What tests of targets share: the small recipe's files, its held-out pictures, and files that targets cannot take."""
import numpy as np
import pytest

from export.predictors import IMAGE, LOGITS, LiteRTPredictor
from pipelines.ingest import Index, Source, pictures, stream

LABELS = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def run(tiny_run):
    """The folder of the small recipe's run."""
    return tiny_run / "runs" / "tiny" / "latest"


@pytest.fixture(scope="module")
def files(run):
    """Variant's name to its TFLite file, as compression made it."""
    return {path.stem: path for path in (run / "compress").glob("*.tflite")}


@pytest.fixture(scope="module")
def images(run):
    """Held-out pictures, raw pixels."""
    index = Index.model_validate_json((run / "ingest" / "index.json").read_bytes())
    return stream.arrays(stream.examples(Source.read("digits"), index, pictures.ImageSettings(size=8), "test"))[0]


@pytest.fixture(scope="module")
def logits(files, images):
    """Variant's name to what its TFLite file answers."""
    return {name: LiteRTPredictor(path).predict({IMAGE: images})[LOGITS] for name, path in files.items()}


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """Converts a function of one picture to a TFLite file."""
    import tensorflow as tf

    def convert(function, shape=(1, 8, 8, 3), signature="serving_default", integer=False):
        folder = tmp_path_factory.mktemp("graph")
        module = tf.Module()
        module.answer = tf.function(lambda image: {"logits": function(image)}, input_signature=[tf.TensorSpec(shape, tf.float32, "image")])
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
