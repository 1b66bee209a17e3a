"""What is in a bundle, of an image classifier and of a model with two inputs and a dense output."""
import json
import shutil
import subprocess
import zipfile

import numpy as np
import pytest

from export.delivery import bundle, golden
from export.signature import Signature, Tensor
from export.tflite import metadata, signatures
from pipelines.features.feature import Learnt
from pipelines.features.image import Image
from tests.export.delivery.conftest import write_bundle


def listed(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def models(folder):
    return {one["name"]: one for one in json.loads((folder / "model.json").read_bytes())["models"]}


def test_an_image_classifiers_bundle_has_its_labels(classified):
    files = listed(classified.folder)
    assert {"labels.txt", "model.json", "MODEL_CARD.md", "SHA256SUMS", "manifest.json", "samples/expected.json",
            "samples/03.png", "litert/float32.tflite", "litert/int8.tflite", "saved_model/1/saved_model.pb",
            "code/kotlin/TinyClassifier.kt", "code/swift/TinyClassifier.swift"} <= files
    assert (classified.folder / "labels.txt").read_text() == "zero\none\ntwo\n"
    result = models(classified.folder)["int8"]
    assert list(result) == ["name", "variant", "target", "path", "bytes", "summary", "signature", "operators", "inputs",
                           "outputs"]
    quantization = {"scale": 1.0, "zero_point": 0, "real_value": "(stored - zero_point) * scale"}
    assert result["inputs"] == [{"name": "image", "dtype": "uint8", "shape": [1, 32, 32, 3],
                                "meaning": "raw pixels 0..255, RGB", "quantization": quantization}]
    assert result["outputs"][0]["meaning"] == "one per class, in the order of labels.txt"
    assert models(classified.folder)["saved_model"]["signatures"] == {
        "serving_default": "image: uint8 (batch, 32, 32, 3), raw pixels 0..255, RGB -> logits"}


def test_a_model_of_two_inputs_and_a_dense_output_is_described_tensor_by_tensor(dense):
    assert "labels.txt" not in listed(dense.folder)
    result = {one.pop("name"): one for one in models(dense.folder)["float32"]["inputs"]}
    assert result == {"image": {"dtype": "float32", "shape": [1, 32, 32, 3], "meaning": "raw pixels 0..255, RGB"},
                     "depth": {"dtype": "float32", "shape": [1], "meaning": "metres below the surface"}}
    integer = models(dense.folder)["int8"]
    assert {one["name"]: one["dtype"] for one in integer["inputs"]} == {"image": "uint8", "depth": "int8"}
    assert integer["outputs"][0]["shape"] == [1, 32, 32, 5] and integer["outputs"][0]["quantization"]["scale"] > 0
    assert models(dense.folder)["saved_model"]["signatures"] == {"serving_default": (
        "image: uint8 (batch, 32, 32, 3), raw pixels 0..255, RGB; "
        "depth: float32 (batch), metres below the surface -> logits")}


def test_its_files_say_what_each_input_is(dense):
    content = (dense.folder / "litert" / "int8.tflite").read_bytes()
    about = metadata.read(content)
    assert (about.name, about.version, about.labels, about.calibration) == ("sea_floor", "1.0.0", [], None)
    assert not zipfile.is_zipfile(dense.folder / "litert" / "int8.tflite"), "there are no labels to lie behind it"
    assert signatures.main(content).inputs["image"].stores_values


def test_its_samples_are_what_the_models_answered(dense):
    _, samples = golden.read(dense.folder)
    np.testing.assert_array_equal(samples.inputs["image"], dense.inputs["image"])
    np.testing.assert_array_equal(samples.inputs["depth"], dense.inputs["depth"])
    assert samples.inputs["depth"].shape == (3,) and len(samples.files) == 3
    for name, outputs in dense.outputs.items():
        np.testing.assert_array_equal(samples.expected[name]["logits"], outputs["logits"])
        assert f"samples/00.{name}.logits.npy" in listed(dense.folder)


def test_the_same_model_is_the_same_bundle(dense, tmp_path):
    bundle.write(tmp_path / "again", about=dense.about, signature=dense.signature, exported=dense.exported,
                 source=dense.source, samples=dense.samples, card="A card.\n", recommended={"phone_cpu": "int8"})
    for path in listed(dense.folder):
        assert (tmp_path / "again" / path).read_bytes() == (dense.folder / path).read_bytes(), path
    shutil.copytree(dense.folder, tmp_path / "one" / "bundle")
    zipped = [bundle.zip_up(folder, "sea_floor") for folder in (tmp_path / "again", tmp_path / "one" / "bundle")]
    assert zipped[0].name == zipped[1].name and zipped[0].read_bytes() == zipped[1].read_bytes()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum")
def test_its_checksums_are_those_of_sha256sum(dense):
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dense.folder, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_grey_model_whose_phone_file_takes_rgb_says_so(tmp_path):
    import keras

    grey = Tensor(name="image", dtype="uint8", shape=(32, 32, 1), role="image", meaning="raw pixels 0..255, grey")
    logits = Tensor(name="logits", dtype="float32", shape=(2,), role="logits")
    inputs = keras.Input(grey.shape, name="image")
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(inputs)))
    about = metadata.Description(name="grey", version="1.0.0", labels=["a", "b"])
    made = write_bundle(tmp_path, about, model, Signature(inputs=(grey,), outputs=(logits,)), 2)
    result = models(made.folder)["float32"]["inputs"][0]
    assert result["shape"] == [1, 32, 32, 3]
    assert result["meaning"] == "raw pixels 0..255, RGB, which the file averages (raw pixels 0..255, grey)"
    assert all(one.passed for one in golden.check_here(made.folder)), "grey samples are repeated to three channels"
    assert "fit" not in result


def test_a_model_whose_images_are_padded_says_so(dense, tmp_path):
    padded = Image(size=32, fit="pad").tensor("image", Learnt())
    signature = dense.signature.model_copy(update={"inputs": (padded, *dense.signature.inputs[1:])})
    about = dense.about.model_copy(update={"signature": signature})
    bundle.write(tmp_path / "again", about=about, signature=signature, exported=dense.exported, source=dense.source,
                 samples=dense.samples, card="A card.\n", recommended={})
    inputs = {one["name"]: one for one in models(tmp_path / "again")["float32"]["inputs"]}
    assert inputs["image"]["fit"] == "pad" and "fit" not in inputs["depth"]
