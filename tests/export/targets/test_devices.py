"""Compilers for hardware that is not here: what they report is what stands in their files."""
import json
import shutil
import subprocess

import numpy as np
import pytest

from export.keras_models import file as keras_file
from export.predictors import open_predictor
from export.targets import coreml, ethos_u, microcontroller, phone_npu
from export.tflite import file as tflite_file
from export.tflite import gpu_coverage, signatures
from export.tflite.metadata import Description
from tests.export.targets.conftest import LABELS


@pytest.mark.parametrize("accelerator", ["ethos-u55-32", "ethos-u65-256", "ethos-u85-256"])
def test_an_integer_network_runs_on_the_npu_alone(files, tmp_path, accelerator):
    result = ethos_u.compile_file(files["int8"], tmp_path / "compiled.tflite", accelerator=accelerator)
    assert tflite_file.operators((tmp_path / "compiled.tflite").read_bytes()) == {"ethos-u": 1}
    operators = tflite_file.operators(files["int8"].read_bytes())
    assert result.coverage.taken == result.coverage.total == sum(operators.values())
    assert all(result.estimates[name] > 0 for name in ("cycles", "sram_bytes", "inferences_per_second"))
    assert [path.name for path in tmp_path.iterdir()] == ["compiled.tflite"], "nothing half-written stays behind"


def test_the_same_network_compiles_to_the_same_bytes(files, tmp_path):
    for name in ("one", "other"):
        ethos_u.compile_file(files["int8"], tmp_path / name, accelerator="ethos-u55-128")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_what_the_npu_does_not_take_is_named_with_the_compilers_reason(converted, tmp_path):
    import tensorflow as tf

    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 3, 8)).astype("float32"))

    def convolved(image):
        return tf.nn.conv2d(image, kernel, 1, "SAME")

    content = converted(lambda image: tf.reduce_mean(tf.cumsum(convolved(image), axis=1), axis=(1, 2)), integer=False)
    assert "CUMSUM" in tflite_file.operators(content)
    path = tmp_path / "float.tflite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"takes none of its operators: .*Float32.*Give an int8 variant"):
        ethos_u.compile_file(path, tmp_path / "compiled", accelerator="ethos-u55-128")
    mixed = converted(lambda image: tf.reduce_mean(tf.math.exp(convolved(image) / 100), axis=(1, 2)), integer=True)
    path.write_bytes(mixed)
    result = ethos_u.compile_file(path, tmp_path / "compiled.tflite", accelerator="ethos-u55-128").coverage
    left = {one.operator for one in result.left}
    compiled = set(tflite_file.operators((tmp_path / "compiled.tflite").read_bytes())) - {"ethos-u"}
    assert left == compiled and result.taken + len(result.left) == result.total


@pytest.mark.parametrize(("settings", "expected"), [
    ({"system_config": "Fast"}, "Vela cannot compile it: .*System_Config.Fast not found"),
    ({"memory_mode": "None"}, "Vela cannot compile it: .*Memory_Mode.None not found")])
def test_a_setting_that_vela_does_not_know_is_said_in_a_line(files, tmp_path, settings, expected):
    with pytest.raises(ValueError, match=expected):
        ethos_u.compile_file(files["int8"], tmp_path / "compiled.tflite", accelerator="ethos-u55-128", **settings)
    assert not list(tmp_path.glob("*.tflite"))


def test_a_shape_that_is_not_fixed_is_refused(converted, tmp_path):
    import tensorflow as tf

    path = tmp_path / "dynamic.tflite"
    path.write_bytes(converted(lambda image: tf.reduce_mean(image, axis=(1, 2)), shape=(None, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"has the shape \(\?, 8, 8, 3\): an NPU wants every size fixed"):
        ethos_u.compile_file(path, tmp_path / "compiled.tflite", accelerator="ethos-u55-128")


def test_the_gpu_takes_convolutions_and_leaves_what_it_does_not_know(files, converted):
    import tensorflow as tf

    assert gpu_coverage.coverage(files["float32"].read_bytes()).share == 1
    content = converted(lambda image: tf.math.top_k(tf.reshape(tf.nn.relu(image)[:, 0], (1, -1)), 3).values)
    left = {one.operator: one.reason for one in gpu_coverage.coverage(content).left}
    assert set(left) == {"STRIDED_SLICE", "TOPK_V2"}
    assert left["TOPK_V2"] == "the delegate does not know it" and "x[:, 0:1]" in left["STRIDED_SLICE"]


def test_a_microcontrollers_array_is_the_file_and_runs_in_the_arena_it_asks_for(files, tmp_path, images, logits):
    content = files["int8"].read_bytes()
    path, arena = microcontroller.write(content, "tiny_int8", tmp_path)
    assert microcontroller.read(path) == content
    result = open_predictor(path).predict({"image": images[:100]})["logits"]
    assert np.abs(result - logits["int8"][:100]).max() <= 3 * signatures.main(content).output.scale
    header = path.with_suffix(".h").read_text()
    assert f"arena_bytes = {arena};" in header and "resolver.AddConv2D();" in header
    path.with_suffix(".h").write_text(header.replace(str(arena), "1024"))
    with pytest.raises(Exception, match=r"(?i)alloc|arena|tensor"):
        open_predictor(path).predict({"image": images[:1]})


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_the_array_compiles(files, tmp_path):
    content = files["int8"].read_bytes()
    microcontroller.write(content, "tiny", tmp_path)
    (tmp_path / "main.cc").write_text('#include "tiny.h"\n#include <cstdio>\n'
                                      "int main() { fwrite(k_tiny, 1, k_tiny_bytes, stdout); "
                                      "return reinterpret_cast<unsigned long>(k_tiny) % 16; }\n")
    subprocess.run(["g++", "-std=c++17", "-o", "main", "main.cc", "tiny.cc"], cwd=tmp_path, check=True)
    assert subprocess.run(["./main"], cwd=tmp_path, capture_output=True, check=True).stdout == content


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float16", "int8", "palettized"])
def test_core_ml_packages_have_the_models_shape_and_the_same_bytes_each_time(run, tmp_path, weights):
    model = keras_file.load(run / "train" / "model.keras")
    about = Description(name="tiny", version="1.2.3", author="me", labels=LABELS)
    packages = [tmp_path / name / "tiny.mlpackage" for name in ("one", "other")]
    for package in packages:
        coreml.convert(model, weights, about, package)
    result = coreml.structure(packages[0])
    assert result["inputs"] == {"image": (1, 8, 8, 3)} and result["outputs"] == {"logits": (1, 10)}
    assert result["operations"]["conv"] == 9
    compressed = {"int8": "constexpr_affine_dequantize", "palettized": "constexpr_lut_to_dense"}.get(weights)
    assert compressed is None or result["operations"][compressed] > 0
    contents = [{path.relative_to(package): path.read_bytes() for path in package.rglob("*") if path.is_file()}
                for package in packages]
    assert contents[0] == contents[1]
    manifest = json.loads((packages[0] / "Manifest.json").read_bytes())
    assert manifest["rootModelIdentifier"] in manifest["itemInfoEntries"]


def test_core_ml_takes_several_named_inputs(dense, tmp_path):
    about = Description(name="sea_floor", task="semantic_segmentation", version="1.0.0", signature=dense.signature)
    coreml.convert(dense.model, "float16", about, tmp_path / "sea.mlpackage")
    result = coreml.structure(tmp_path / "sea.mlpackage")
    assert result["inputs"] == {"image": (1, 32, 32, 3), "depth": (1,)}
    assert result["outputs"] == {"logits": (1, 32, 32, 5)}
    coreml.convert(dense.model, "float32", about.model_copy(update={"signature": None}), tmp_path / "named.mlpackage")
    assert coreml.structure(tmp_path / "named.mlpackage")["inputs"] == result["inputs"], "the model's own names"


def test_core_ml_names_several_outputs(tmp_path):
    import keras

    image = keras.Input((8, 8, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, {"zone": keras.layers.Dense(2)(pooled), "age": keras.layers.Dense(5)(pooled)})
    coreml.convert(model, "float32", Description(name="two", version="1.0.0"), tmp_path / "two.mlpackage")
    assert coreml.structure(tmp_path / "two.mlpackage")["outputs"] == {"age": (1, 5), "zone": (1, 2)}


def test_an_unknown_system_on_chip_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"qualcomm has no system on chip SM865 .*Did you mean SM8650"):
        phone_npu.check_system("qualcomm", "SM865")
    assert "MT6991" in phone_npu.systems("mediatek") and "Tensor_G5" in phone_npu.systems("google-tensor")


@pytest.mark.parametrize(("vendor", "soc"), [
    ("qualcomm", "SM8650"), ("google-tensor", "Tensor_G5"), ("intel-npu", "PTL")])
def test_a_makers_missing_compiler_is_named_with_what_brings_it(files, tmp_path, vendor, soc):
    package = phone_npu.VENDORS[vendor].package
    if not phone_npu.missing(vendor):
        pytest.skip(f"{package} is installed")
    with pytest.raises(ValueError, match=f"which is not here; {package} is not installed; .*pip install") as raised:
        phone_npu.compile_file(files["int8"], tmp_path / "compiled.tflite", vendor, soc)
    if vendor == "intel-npu":  # OpenVINO, which is here, has chosen the operators before its compiler was missed
        count = sum(tflite_file.operators(files["int8"].read_bytes()).values())
        assert f"the PTL takes {count} of {count} operators, but" in str(raised.value)
