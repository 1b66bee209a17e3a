"""What is exported, on the model that the small recipe trained, over its held-out test set."""
import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from export.benchmark import latency
from export.conversion import convert
from export.keras_models import file as keras_file
from export.keras_models import graph
from export.measure.compare import compare
from export.predictors import KerasPredictor, LiteRTPredictor, SavedModelPredictor
from export.targets import saved_model
from export.tflite import file as tflite_file

VARIANTS = ("float32", "float16", "dynamic", "int8")


@pytest.fixture(scope="module")
def reference(run, digits):
    """The trained model's logits on the test set."""
    return KerasPredictor(run / "train" / "model.keras").predict({"image": digits["test"][0]})["logits"]


@pytest.fixture(scope="module")
def difference(data, reference):
    """Compares logits with the trained model's, as the task asks for."""
    tensors = data.task.outputs(data.index)
    return lambda logits: compare({"logits": logits}, {"logits": reference[:len(logits)]}, tensors)["logits"]


def test_the_trained_model_has_learned(reference, digits):
    assert (reference.argmax(axis=1) == digits["test"][1]).mean() > 0.8


@pytest.mark.parametrize(("variant", "tolerance"),
                         [("float32", 1e-4), ("float16", 0.1), ("dynamic", 1.5), ("int8", 3.0)])
def test_every_variant_answers_like_the_trained_model(run, digits, difference, variant, tolerance):
    path = run / "export" / "litert" / f"{variant}.tflite"
    measured = difference(LiteRTPredictor(path).predict({"image": digits["test"][0]})["logits"])
    assert measured.max < tolerance
    assert measured.agreement > 0.95


def test_a_saved_model_answers_alike_from_pixels_from_files_and_from_examples(run, digits, reference, difference):
    images = digits["test"][0][:50]
    folder = run / "export" / "saved_model" / "1"
    assert difference(SavedModelPredictor(folder).predict({"image": images})["logits"]).max < 1e-4
    signatures = tf.saved_model.load(str(folder)).signatures
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    from_files = signatures["serving_bytes"](image_bytes=encoded)
    np.testing.assert_allclose(from_files["logits"], reference[:50], atol=1e-4)
    np.testing.assert_allclose(from_files["scores"], tf.nn.softmax(reference[:50]), atol=1e-5)
    examples = [tf.train.Example(features=tf.train.Features(feature={
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[one]))})).SerializeToString()
        for one in encoded.numpy()]
    classified = signatures["classify"](inputs=tf.constant(examples))
    assert [int(row[0]) for row in classified["classes"].numpy()] == reference[:50].argmax(axis=1).tolist()
    assert (np.diff(classified["scores"].numpy(), axis=1) <= 0).all(), "best first"


def test_the_classify_signature_has_the_method_name_that_tf_serving_asks_for(run):
    from tensorflow.core.protobuf import saved_model_pb2

    content = (run / "export" / "saved_model" / "1" / "saved_model.pb").read_bytes()
    definitions = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def
    assert definitions["classify"].method_name == graph.CLASSIFY_METHOD


def test_int8_is_integer_throughout_and_takes_raw_pixels(run):
    path = run / "export" / "litert" / "int8.tflite"
    assert not tflite_file.float_tensors(path.read_bytes())
    signature = LiteRTPredictor(path).tensors["serving_default"]
    assert signature.input.dtype == "uint8"
    assert signature.input.scale == pytest.approx(1, rel=0.01)
    assert signature.output.dtype == "uint8", "which MediaPipe reads, and int8 it does not"


def test_float_files_are_told_from_integer_ones(run):
    assert tflite_file.float_tensors((run / "export" / "litert" / "dynamic.tflite").read_bytes())


def test_operators_are_counted(run):
    counts = tflite_file.operators((run / "export" / "litert" / "float32.tflite").read_bytes())
    assert counts == {"CONV_2D": 9, "ADD": 3, "MEAN": 1, "FULLY_CONNECTED": 1}


def test_writing_a_model_twice_gives_the_same_bytes(run, data, tmp_path):
    model = keras_file.load(run / "train" / "model.keras")
    for name in ("a", "b"):
        keras_file.save(model, tmp_path / f"{name}.keras")
        saved_model.export(model, tmp_path / name, data.task.functions(model, data, "server"))
        convert.float_graph(model, lambda plain: data.task.functions(plain, data, "device"), tmp_path / f"{name} graph")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    for file in ("variables/variables.data-00000-of-00001", "variables/variables.index"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    files = [convert.convert(tmp_path / f"{name} graph", "float32") for name in ("a", "b")]
    assert files[0] == files[1]


@pytest.mark.timed
def test_latency_is_what_was_waited():
    import time

    measured = latency(lambda: time.sleep(0.002), runs=50, threads=1)
    assert 2 <= measured.p50 < 4 and measured.p50 <= measured.p95
    assert (measured.runs, measured.threads) == (50, 1)


def test_the_bundle_lists_what_it_holds(run):
    folder = run / "package" / "bundle"
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True,
                             text=True)
    assert checked.returncode == 0, checked.stdout
    listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert listed == files - {"SHA256SUMS", "manifest.json"}
    assert "SHA256SUMS" in {one["path"] for one in json.loads((folder / "manifest.json").read_text())["files"]}
    described = {one["path"]: one for one in json.loads((folder / "model.json").read_text())["models"]}
    assert set(described) == {f"litert/{name}.tflite" for name in VARIANTS} | {"saved_model/1"}
    assert described["litert/int8.tflite"]["inputs"][0]["dtype"] == "uint8"


def test_the_golden_samples_are_answered_as_the_bundle_says(run, data):
    folder = run / "package" / "bundle"
    samples = json.loads((folder / "samples" / "expected.json").read_text())
    assert len(samples) == 10
    image = data.index.inputs["image"]
    for name in VARIANTS:
        predictor = LiteRTPredictor(folder / "litert" / f"{name}.tflite")
        for sample in samples:
            pixels = data.features["image"].from_file(folder / "samples" / sample["file"], image)
            logits = predictor.predict({"image": pixels[None]})["logits"]
            np.testing.assert_allclose(logits[0], sample["expected"][name]["logits"], atol=2e-5)
