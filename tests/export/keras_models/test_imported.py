"""Models that were made elsewhere: read as what they are, or refused in a line."""
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.conversion import convert
from export.keras_models import as_graph, graph, imported
from export.keras_models.load import is_keras, load
from export.keras_models.pixels import SCALING, wrong_range
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT
from export.tflite import edit
from export.tflite import file as tflite_file

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 1)).astype("uint8")
UNIT = IMAGES / np.float32(255)


def network(library, last="softmax"):
    """A small separable network with batch normalization, of either library."""
    library.utils.set_random_seed(4)
    layers = library.layers
    first = keras.Input((12, 12, 1)) if library is keras else layers.InputLayer((12, 12, 1))
    return library.Sequential([first, layers.Conv2D(8, 3, 2, activation="relu"),
                               layers.DepthwiseConv2D(3, use_bias=False),
                               layers.BatchNormalization(), layers.ReLU(6.0), layers.GlobalAveragePooling2D(),
                               layers.Dense(5, activation=last)], name="given")


def logits_of(probabilities):
    logits = np.log(probabilities)
    return logits - logits.mean(axis=1, keepdims=True)


@pytest.mark.parametrize(("library", "name"),
                         [(keras, "model.keras"), (keras, "model.h5"), (tf_keras, "model.h5"), (tf_keras, "folder")])
def test_each_form_comes_over_exactly_without_its_softmax_and_with_its_pixels(library, name, tmp_path):
    made = network(library)
    expected = logits_of(np.asarray(made(UNIT, training=False)))
    made.save(tmp_path / name)
    assert is_keras(tmp_path / name)
    model = imported.classifier(load(tmp_path / name), "0..1")
    assert isinstance(model, keras.Model) and model.input.name == "image"
    answered = np.asarray(model(IMAGES.astype("float32"), training=False)["logits"])
    np.testing.assert_allclose(answered - answered.mean(axis=1, keepdims=True), expected, atol=1e-4)


def test_a_model_of_pixels_comes_over_without_its_softmax():
    keras.utils.set_random_seed(4)
    made = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
                             keras.layers.Conv2D(3, 1, activation="softmax")], name="given")
    model = imported.classifier(made, "0..1", dense=True)
    logits = np.asarray(model(IMAGES.astype("float32"))["logits"])
    np.testing.assert_allclose(tf.nn.softmax(logits), made(UNIT), atol=1e-5)
    with pytest.raises(ValueError, match=re.escape("given gives (batch, 12, 12, 3); it must be (batch, classes), or "
                                                   "one number for two classes")):
        imported.classifier(made, "0..1")
    with pytest.raises(ValueError, match=re.escape("given gives (batch, 5); it must be (batch, height, width, classes)"
                                                   ", or one number for two classes")):
        imported.classifier(network(keras), "0..1", dense=True)


def test_a_tflite_file_takes_raw_pixels_and_gives_logits_and_is_quantized(tmp_path):
    made = network(tf_keras)
    content = tf.lite.TFLiteConverter.from_keras_model(made).convert()
    path = tmp_path / "model.tflite"
    path.write_bytes(edit.normalized(content, *SCALING["0..1"]))
    assert "SOFTMAX" not in tflite_file.operators(path.read_bytes())
    expected = logits_of(np.asarray(made(UNIT, training=False)))

    def answered():
        logits = LiteRTPredictor(path).predict({"image": IMAGES})["logits"]
        return logits - logits.mean(axis=1, keepdims=True)

    np.testing.assert_allclose(answered(), expected, atol=1e-4)
    source = tmp_path / "source.tflite"
    source.write_bytes(path.read_bytes())
    for encoding, tolerance in (("float16", 0.01), ("dynamic", 0.2), ("int8_weights", 0.2), ("int8", 0.3)):
        path.write_bytes(convert.convert(source, encoding, [(DEFAULT, {"image": IMAGES})]))
        assert np.abs(answered() - expected).max() < tolerance * np.abs(expected).max(), encoding
    assert not tflite_file.float_tensors(path.read_bytes())
    with pytest.raises(ValueError, match="quantized already"):
        convert.convert(path, "dynamic")
    with pytest.raises(ValueError, match="int8 needs calibration examples"):
        convert.convert(source, "int8")


def test_a_graph_that_keras_exported_comes_as_a_tflite_file(tmp_path):
    made = network(keras)
    made.export(tmp_path / "exported", verbose=False)
    assert not is_keras(tmp_path / "exported")
    path = tmp_path / "model.tflite"
    path.write_bytes(edit.normalized(as_graph.as_tflite(tmp_path / "exported"), *SCALING["0..1"]))
    logits = LiteRTPredictor(path).predict({"image": IMAGES})["logits"]
    np.testing.assert_allclose(logits - logits.mean(axis=1, keepdims=True),
                               logits_of(np.asarray(made(UNIT, training=False))), atol=1e-4)


@pytest.mark.parametrize("pixels", ["0..255", "0..1"])
def test_a_file_without_signatures_gets_one_of_image_and_logits(pixels, tmp_path):
    model = tflite_file.read(tf.lite.TFLiteConverter.from_keras_model(network(tf_keras)).convert())
    model.signatureDefs = None
    path = tmp_path / "model.tflite"
    path.write_bytes(edit.normalized(tflite_file.write(model), *SCALING[pixels]))
    signature = LiteRTPredictor(path).signatures[DEFAULT]
    assert [tensor.name for tensor in signature.inputs] == ["image"] and signature.inputs[0].shape == (12, 12, 1)
    assert [tensor.name for tensor in signature.outputs] == ["logits"] and signature.outputs[0].shape == (5,)


@pytest.mark.parametrize(("name", "is_bare"), [("logits", True), ("dense", False)])
def test_the_output_is_called_logits_by_its_operation_or_in_a_dict(name, is_bare):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(4, name=name)(keras.layers.GlobalAveragePooling2D()(inputs)))
    shaped = imported.classifier(model, "-1..1")
    assert isinstance(shaped.output, dict) is not is_bare
    assert graph.output_names(shaped) == ["logits"] and graph.input_names(shaped) == ["image"]


def test_pixels_of_another_range_are_noticed_by_labels_and_by_batch_normalization():
    model = network(keras)
    model(UNIT)
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    seen = np.asarray(keras.Model(model.inputs, norm.input)(UNIT))
    norm.moving_variance.assign(seen.reshape(-1, 8).var(axis=0))
    norm.moving_mean.assign(seen.reshape(-1, 8).mean(axis=0))
    assert wrong_range(model, "0..1", IMAGES) == ""
    assert "learnt on pixels 0..1, not 0..255: what its layer" in wrong_range(model, "0..255", IMAGES)
    dense = model.layers[-1]
    dense.bias.assign(-np.log(np.asarray(model(UNIT))).mean(axis=0))  # so that all classes are answered
    labels = np.asarray(model(UNIT)).argmax(axis=1)
    assert wrong_range(model, "0..1", IMAGES, labels) == ""
    wrong = np.asarray(model(IMAGES.astype("float32"))).argmax(axis=1)
    assert (wrong != labels).mean() > 0.2, "or there is nothing to notice"
    assert re.search(r"answers \d+% of 20 images correctly on 0\.\.255, and 100% on 0\.\.1", wrong_range(
        model, "0..255", IMAGES, labels))


def save_weights(folder):
    network(keras).save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5"


def save_bytes(name, content):
    def save(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return save


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def save_own_layer(folder):
    layers = [keras.Input((12, 12, 1)), Doubled(), keras.layers.Flatten(), keras.layers.Dense(3)]
    keras.Sequential(layers).save(folder / "own.keras")
    keras.saving.get_custom_objects().pop("tests>Doubled")
    return folder / "own.keras"


@pytest.mark.parametrize(("save", "expected"), [
    (save_weights, "holds weights without their model"),
    (save_bytes("model.h5", b"\x89HDF\r\n\x1a\nnothing"), "a damaged .h5 file"),
    (save_bytes("model.keras", b"PK\x03\x04nothing"), "cannot be read as a Keras model"),
    (lambda folder: folder / "model.keras", "there is no model"),
    (save_own_layer, "needs Doubled, which is not registered here")])
def test_what_cannot_be_read_is_refused_in_a_line(save, expected, tmp_path):
    with pytest.raises(ValueError, match=expected) as caught:
        load(save(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("shape", "units", "expected"), [
    ((None, None, 3), 4, r"takes \(batch, \?, \?, 3\)"), ((8, 8, 3), None, r"gives \(batch, 8, 8, 4\)"),
    ((8, 8, 2), 4, r"takes \(batch, 8, 8, 2\)")])
def test_what_is_not_a_classifier_of_images_is_refused(shape, units, expected):
    inputs = keras.Input(shape)
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    outputs = keras.layers.Dense(units)(pooled) if units else keras.layers.Conv2D(4, 1)(inputs)
    model = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match=expected):
        imported.classifier(model, "0..255")


def test_a_model_without_weights_is_refused(tmp_path):
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)).save(tmp_path / "empty.keras")
    with pytest.raises(ValueError, match="a model without weights"):
        load(tmp_path / "empty.keras")
