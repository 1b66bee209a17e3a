"""Small models with signatures of every kind, and a server that has them."""
import shutil
from pathlib import Path

import pytest


def write_toy(folder: Path, bias: float = 1.0) -> Path:
    """A SavedModel of TensorFlow 2.

    serving_default: x float (n, 2) -> y = x + bias, and s, the sum over a row.
    mixed: text string (n,), flag bool (n,), big int64 (n,) -> the same three, text as text_bytes too, and half,
        float16.
    scalars: value float () -> twice.
    classify, regress: tf.train.Example with "v" float (2,).
    """
    import tensorflow as tf

    module = tf.Module()
    module.bias = tf.Variable(bias)

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "x")])
    def default(x):
        return {"y": x + module.bias, "s": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text"), tf.TensorSpec([None], tf.bool, "flag"),
                                  tf.TensorSpec([None], tf.int64, "big")])
    def mixed(text, flag, big):
        return {"text": text, "text_bytes": text, "flag": tf.logical_not(flag), "big": big + 1,
                "half": tf.cast(big, tf.float16)}

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32, "value")])
    def scalars(value):
        return {"twice": value * 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(inputs):
        values = tf.io.parse_example(inputs, {"v": tf.io.FixedLenFeature([2], tf.float32)})["v"]
        return {"classes": tf.broadcast_to(tf.constant([["a", "b"]]), (tf.shape(values)[0], 2)),
                "scores": values + module.bias}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(inputs):
        values = tf.io.parse_example(inputs, {"v": tf.io.FixedLenFeature([2], tf.float32)})["v"]
        return {"outputs": tf.reduce_sum(values, axis=1) + module.bias}

    module.default, module.mixed, module.scalars = default, mixed, scalars
    module.classify, module.regress = classify, regress
    tf.saved_model.save(module, str(folder),
                        {"serving_default": default, "mixed": mixed, "scalars": scalars, "classify": classify,
                                              "regress": regress})
    return folder


def write_tflite(folder: Path, bias: float = 1.0) -> Path:
    """A version folder with a model.tflite of a batch of one: x float (1, 2) -> y = x + bias."""
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((1, 2), tf.float32, "x")])
    def default(x):
        return {"y": x + bias}

    module.default = default
    folder.mkdir(parents=True)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([default.get_concrete_function()], module)
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder


@pytest.fixture(scope="session")
def toy_one(tmp_path_factory) -> Path:
    """The SavedModel whose bias is 1."""
    return write_toy(tmp_path_factory.mktemp("toy") / "1", 1.0)


@pytest.fixture(scope="session")
def toy_two(tmp_path_factory) -> Path:
    """The SavedModel whose bias is 10."""
    return write_toy(tmp_path_factory.mktemp("toy") / "2", 10.0)


@pytest.fixture
def base(toy_one, tmp_path) -> Path:
    """A base path with version 1."""
    shutil.copytree(toy_one, tmp_path / "base" / "1")
    return tmp_path / "base"


@pytest.fixture(scope="session")
def toy(toy_one, tmp_path_factory):
    """A server of the model `toy`, version 1. Tests must not change it."""
    from serving.embedded import running

    base = tmp_path_factory.mktemp("served")
    shutil.copytree(toy_one, base / "1")
    monitoring = base / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with running(model_name="toy", model_base_path=str(base), monitoring_config_file=str(monitoring)) as server:
        yield server
