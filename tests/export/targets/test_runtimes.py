"""ONNX Runtime and OpenVINO answer as the TFLite file that they were made of."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.keras_models import graph
from export.predictors import open_predictor
from export.signature import DEFAULT, Function, Signature, Tensor
from export.targets import onnx, openvino, saved_model, web
from export.tflite import signatures
from tests.export.targets.conftest import LABELS


@pytest.fixture(scope="module", params=["float32", "int8"])
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def made(variant, files, tmp_path_factory):
    """The variant's ONNX file and OpenVINO model."""
    folder, content = tmp_path_factory.mktemp("made"), files[variant].read_bytes()
    (folder / "model.onnx").write_bytes(onnx.convert(content, LABELS))
    openvino.convert(content, LABELS, folder / "model.xml")
    return {"onnx": folder / "model.onnx", "openvino": folder / "model.xml"}


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_it_answers_as_the_tflite_file(made, kind, variant, images, logits, files):
    predictor = open_predictor(made[kind])
    signature = predictor.signatures[DEFAULT]
    assert [tensor.shape for tensor in signature.inputs] == [(8, 8, 3)] and signature.inputs[0].name == "image"
    result = predictor.predict({"image": images})["logits"]
    assert result.dtype == np.float32
    step = signatures.main(files[variant].read_bytes()).output.scale
    assert np.abs(result - logits[variant]).max() <= (1e-4 if variant == "float32" else 3 * step)
    assert (result.argmax(1) == logits[variant].argmax(1)).mean() > 0.98
    again = predictor.prepared({"image": images[:1]})
    assert again() is not False


def test_the_same_model_is_the_same_file(made, variant, files, tmp_path):
    content = files[variant].read_bytes()
    assert onnx.convert(content, LABELS) == made["onnx"].read_bytes()
    openvino.convert(content, LABELS, tmp_path / "model.xml")
    for ending in (".xml", ".bin"):
        again = (tmp_path / "model").with_suffix(ending)
        assert again.read_bytes() == made["openvino"].with_suffix(ending).read_bytes()


HASH = """
import hashlib, pathlib, sys
from export.targets import onnx
print(hashlib.sha256(onnx.convert(pathlib.Path(sys.argv[1]).read_bytes(), list("0123456789"))).hexdigest())
"""


@pytest.mark.slow
def test_the_same_model_is_the_same_file_in_every_process(files):
    """Sets and dictionaries come in another order where strings have other hashes."""
    root, command = Path(onnx.__file__).parents[2], [sys.executable, "-c", HASH, str(files["int8"])]
    digests = {subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True,
                              check=True, cwd=root).stdout for seed in range(6)}
    assert len(digests) == 1


def test_the_labels_are_inside(made):
    import onnxruntime
    import openvino as runtime

    session = onnxruntime.InferenceSession(str(made["onnx"]))
    assert session.get_modelmeta().custom_metadata_map["labels"].split("\n") == LABELS
    model = runtime.Core().read_model(str(made["openvino"]))
    assert model.get_rt_info(["model_info", "labels"]).value.split("\n") == LABELS


def test_an_input_that_is_not_raw_pixels_is_quantized_inside(converted, tmp_path):
    """Integer files whose input has another scale than 1, as converters made elsewhere write them."""
    import tensorflow as tf

    content = converted(lambda image: tf.reduce_mean(image, axis=(1, 2)) * 2.0 - 1.0, integer=True)
    assert not signatures.main(content).input.stores_values
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / "model.onnx").write_bytes(onnx.convert(content, ["a", "b", "c"]))
    openvino.convert(content, ["a", "b", "c"], tmp_path / "model.xml")
    pixels = np.random.default_rng(1).uniform(0, 1, (20, 8, 8, 3)).astype("float32")
    expected = open_predictor(tmp_path / "model.tflite").predict({"image": pixels})["logits"]
    assert np.ptp(expected) > 0.1
    for path in (tmp_path / "model.onnx", tmp_path / "model.xml"):
        result = open_predictor(path).predict({"image": pixels})["logits"]
        assert np.abs(result - expected).max() <= 2 * signatures.main(content).output.scale


@pytest.mark.parametrize("kind", ["onnx", "xml"])
def test_two_inputs_and_a_dense_output_keep_their_names(dense, variant, kind, tmp_path):
    path = tmp_path / f"model.{kind}"
    content = (dense.source / "litert" / f"{variant}.tflite").read_bytes()
    if kind == "onnx":
        path.write_bytes(onnx.convert(content))
    else:
        openvino.convert(content, [], path)
    predictor = open_predictor(path)
    shapes = {tensor.name: tensor.shape for tensor in predictor.signatures[DEFAULT].inputs}
    assert shapes == {"image": (32, 32, 3), "depth": ()}
    result, expected = predictor.predict(dense.inputs)["logits"], dense.outputs[variant]["logits"]
    step = signatures.main(content).output.scale
    assert result.shape == (3, 32, 32, 5) and result.dtype == np.float32
    assert np.abs(result - expected).max() <= (1e-4 if variant == "float32" else 3 * step)


def test_the_page_is_of_image_classifiers(dense, classified, tmp_path, monkeypatch):
    (tmp_path / "runtime").mkdir()
    monkeypatch.setattr(web, "runtime", lambda: tmp_path / "runtime")
    models = {name: (classified.source / "litert" / f"{name}.tflite").read_bytes() for name in ("float32", "int8")}
    (tmp_path / "page").mkdir()
    page = web.write(tmp_path / "page", classified.about, models).read_text()
    assert '"scale": 1.0' in page and 'SIZE = [32, 32, 3]' in page and '["zero", "one", "two"]' in page
    content = (dense.source / "litert" / "float32.tflite").read_bytes()
    with pytest.raises(ValueError, match=r"it takes 2 tensors \((depth, image|image, depth)\); it must be one"):
        web.write(tmp_path / "page", dense.about, {"float32": content})
    with pytest.raises(ValueError, match=r"shows classes, masks and boxes of images, and float32 .* without labels"):
        web.write(tmp_path / "page", classified.about.model_copy(update={"labels": []}), models)


def test_a_saved_models_signatures_are_read_from_its_file(dense, tmp_path):
    result = saved_model.signatures(dense.source / "saved_model" / "1")
    assert list(result) == [DEFAULT]
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in result[DEFAULT].inputs} == {
        "image": ("uint8", (32, 32, 3)), "depth": ("float32", ())}
    assert [(tensor.name, tensor.role) for tensor in result[DEFAULT].outputs] == [("logits", "logits")]
    with pytest.raises(ValueError, match="is not a SavedModel"):
        saved_model.signatures(tmp_path)


def test_a_signature_of_serialized_examples_says_so_and_the_default_comes_first(dense, tmp_path):
    import tensorflow as tf

    examples = Tensor(name="inputs", dtype="string", shape=(), role="text")
    scores = Tensor(name="scores", dtype="float32", shape=(1,), role="scores")
    classify = Function(Signature(name="classify", inputs=(examples,), outputs=(scores,)),
                        lambda inputs: {"scores": tf.strings.length(inputs)[:, None] / 2})
    saved_model.export(dense.model, tmp_path / "1", [classify, graph.function(dense.model, dense.signature)])
    result = saved_model.signatures(tmp_path / "1")
    assert list(result) == [DEFAULT, "classify"]
    assert result["classify"].inputs[0].meaning == "tf.train.Example" and result["classify"].inputs[0].dtype == "string"


def answers(content, folder, brightest):
    """Return what a TFLite file and the ONNX file that is made of it answer to the same images."""
    (folder / "model.tflite").write_bytes(content)
    (folder / "model.onnx").write_bytes(onnx.convert(content, ["a", "b", "c"]))
    pixels = np.random.default_rng(1).integers(0, brightest + 1, (20, 8, 8, 3)).astype("uint8")
    predictors = [open_predictor(folder / name) for name in ("model.tflite", "model.onnx")]
    return [predictor.predict({"image": pixels})["logits"] for predictor in predictors]


def test_an_operator_of_several_outputs_keeps_them_apart(converted, tmp_path):
    """As LeNet-5's table of connections, which splits its maps."""
    import tensorflow as tf

    def swapped(image):
        red, green, blue = tf.split(image, 3, axis=-1)
        return tf.reduce_mean(tf.concat([blue * 3.0, red, green * 2.0], axis=-1), axis=(1, 2))

    expected, result = answers(converted(swapped, integer=False), tmp_path, brightest=255)
    assert np.abs(result - expected).max() <= 1e-4
    assert np.ptp(expected) > 1


@pytest.mark.parametrize("integer", [False, True])
def test_a_dense_layer_on_maps_keeps_its_bias(converted, tmp_path, integer):
    """As VGG-11's first, whose maps of one pixel LiteRT's converter flattens inside it: tf2onnx drops the bias."""
    import tensorflow as tf

    from export.tflite import file as tflite_file

    weights = tf.constant(np.random.default_rng(0).normal(size=(3, 3)).astype("float32"))
    bias = tf.constant([5.0, -3.0, 1.0])

    def dense(image):
        return tf.matmul(tf.reshape(tf.nn.avg_pool2d(image, 8, 8, "VALID"), (1, 3)), weights) + bias

    content = converted(dense, integer=integer)
    assert "RESHAPE" not in tflite_file.operators(content)
    expected, result = answers(content, tmp_path, brightest=1)
    assert np.ptp(expected) > 3
    assert np.abs(result - expected).max() <= (2 * signatures.main(content).output.scale if integer else 1e-5)


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize("integer", [False, True])
def test_gelu_has_an_onnx_form(converted, tmp_path, approximate, integer):
    """As ViT and ConvNeXt have it; tf2onnx leaves LiteRT's operator as it is."""
    import tensorflow as tf

    from export.tflite import file as tflite_file

    def gelu(image):
        return tf.nn.gelu(tf.reduce_mean(image, axis=(1, 2)) * 4.0 - 2.0, approximate=approximate)

    content = converted(gelu, integer=integer)
    assert "GELU" in str(tflite_file.operators(content))
    expected, result = answers(content, tmp_path, brightest=1)
    assert np.ptp(expected) > 0.2
    assert np.abs(result - expected).max() <= (2 * signatures.main(content).output.scale if integer else 1e-5)


@pytest.mark.parametrize("name", ["model.onnx", "model.xml", "model.cc"])
def test_a_file_that_is_not_a_model_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"nothing")
    (tmp_path / "model.h").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="model"):
        open_predictor(tmp_path / name)
