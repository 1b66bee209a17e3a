"""Every runtime takes and gives named tensors, several of each, and what it gives is what the model computes."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.predictors import (
    GpuPredictor,
    KerasPredictor,
    LiteRTPredictor,
    SavedModelPredictor,
    choose,
    gpu,
    litert,
    open_predictor,
)
from export.predictors import coreml as coreml_predictor
from export.signature import DEFAULT
from export.tflite import signatures
from tests.export.predictors.conftest import INPUTS, OUTPUTS

KINDS = ("keras", "saved_model", "saved_model of one", "litert", "litert int8", "micro", "onnx", "openvino")
INTEGER = ("litert int8", "micro")
#: A software Vulkan driver, as Chromium's package brings it.
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def assert_right(outputs, expected, kind):
    """Within a millionth of the largest value; an integer file's within its steps."""
    assert set(outputs) == {tensor.name for tensor in OUTPUTS}
    for name, value in expected.items():
        assert outputs[name].dtype == np.float32 and outputs[name].shape == value.shape
        allowed = (0.05 if kind in INTEGER else 1e-5) * np.abs(value).max()
        assert np.abs(outputs[name] - value).max() <= allowed, (kind, name)


def test_two_inputs_and_two_outputs_by_name(kind, files, examples, expected):
    inputs = examples()
    assert_right(open_predictor(files[kind]).predict(inputs), expected(inputs), kind)


def test_the_order_of_the_inputs_does_not_matter_nor_what_is_not_asked_for(kind, files, examples, expected):
    inputs = examples(2)
    turned = {"age": inputs["age"], "unused": np.zeros(2), "image": inputs["image"]}
    assert_right(open_predictor(files[kind]).predict(turned), expected(inputs), kind)


def test_the_signature_names_every_tensor_with_its_shape_type_and_role(kind, files):
    signature = choose(open_predictor(files[kind]).signatures)
    for tensors, known in ((signature.inputs, INPUTS), (signature.outputs, OUTPUTS)):
        assert {(one.name, one.dtype, one.shape, one.role) for one in tensors} == {
            (one.name, one.dtype, one.shape, one.role) for one in known}


def test_an_example_of_the_signature_can_be_predicted(kind, files, expected):
    predictor = open_predictor(files[kind])
    inputs = choose(predictor.signatures).example(3)
    outputs = predictor.predict(inputs)
    assert {name: value.shape for name, value in outputs.items()} == {"logits": (3, 4), "hours": (3, 2)}


def test_what_a_benchmark_times_can_be_run_again_and_again(kind, files, examples):
    run = open_predictor(files[kind]).prepared(examples(1))
    run()
    run()


def test_grey_images_go_where_a_file_takes_three_channels(kind, files, examples, expected):
    inputs = examples(3, channels=1)
    in_colour = {**inputs, "image": np.repeat(inputs["image"], 3, axis=-1)}
    assert_right(open_predictor(files[kind]).predict(inputs), expected(in_colour), kind)


def test_inputs_that_do_not_fit_are_named(kind, files, examples):
    predictor, inputs = open_predictor(files[kind]), examples(2)
    with pytest.raises(ValueError, match=r"the input age is missing; there are image"):
        predictor.predict({"image": inputs["image"]})
    with pytest.raises(ValueError, match=r"the input age is \(batch, 3\); it must be \(batch, 2\)"):
        predictor.predict({**inputs, "age": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"different numbers of examples: (2 of image, 1 of age|1 of age, 2 of image)"):
        predictor.predict({**inputs, "age": inputs["age"][:1]})
    with pytest.raises(ValueError, match="no examples"):
        predictor.predict({name: value[:0] for name, value in inputs.items()})
    with pytest.raises(ValueError, match="there is no signature prefill; there are"):
        predictor.predict(inputs, "prefill")


@pytest.mark.parametrize(("kind", "predictor"), [("keras", KerasPredictor), ("saved_model", SavedModelPredictor)])
def test_batches_are_joined(kind, predictor, files, examples, expected):
    inputs = examples(8)
    assert_right(predictor(files[kind], batch=3).predict(inputs), expected(inputs), "")


@pytest.mark.parametrize("name", ["any", "one"])
def test_a_saved_model_is_called_by_the_signature_that_is_asked_for(name, saved):
    predictor = SavedModelPredictor(saved[name])
    assert set(predictor.signatures) == {DEFAULT, "doubled"}
    tokens = np.arange(12).reshape(4, 3)
    assert predictor.predict({"tokens": tokens}, "doubled")["tokens"].tolist() == (2 * tokens).tolist()
    assert predictor.signatures["doubled"].inputs[0].role == "tokens"


def test_a_saved_model_lists_its_tensors_by_name_and_number(tmp_path):
    import tensorflow as tf

    names = [f"output_{index}" for index in range(12)]
    module = tf.Module()
    module.counted = tf.function(lambda count: {name: count + index for index, name in enumerate(names)},
                                 input_signature=[tf.TensorSpec((None, 1), tf.float32, "count")])
    tf.saved_model.save(module, str(tmp_path / "saved"), {DEFAULT: module.counted})
    assert [tensor.name for tensor in SavedModelPredictor(tmp_path / "saved").signatures[DEFAULT].outputs] == names


def test_a_tflite_file_is_called_by_the_signature_that_is_asked_for(converted, examples, expected):
    predictor = LiteRTPredictor(converted["both"])
    assert set(predictor.signatures) == {DEFAULT, "doubled"}
    tokens, inputs = np.arange(12).reshape(4, 3), examples(3)
    for _ in range(2):  # one after the other, in one interpreter
        doubled = predictor.predict({"tokens": tokens}, "doubled")["tokens"]
        assert doubled.dtype == np.int32 and doubled.tolist() == (2 * tokens).tolist()
        assert_right(predictor.predict(inputs), expected(inputs), "")
    predictor.prepared({"tokens": tokens[:1]}, "doubled")()
    predictor.prepared({name: value[:1] for name, value in inputs.items()})()


def test_a_file_whose_only_signature_has_another_name_needs_none_to_be_called(saved, tmp_path):
    import tensorflow as tf

    content = tf.lite.TFLiteConverter.from_saved_model(str(saved["one"]), signature_keys=["doubled"]).convert()
    (tmp_path / "doubled.tflite").write_bytes(content)
    predictor = open_predictor(tmp_path / "doubled.tflite")
    assert list(predictor.signatures) == ["doubled"] and signatures.main(content).name == "doubled"
    assert predictor.predict({"whatever it is called": np.array([[1, 2, 3]])})["tokens"].tolist() == [[2, 4, 6]]


def test_a_file_without_signatures_has_its_tensors_names(converted, examples, expected):
    predictor, inputs = LiteRTPredictor(converted["bare"]), examples(3)
    assert signatures.main(converted["bare"].read_bytes()).signature() == predictor.signatures[DEFAULT]
    signature = predictor.signatures[DEFAULT]
    names = {tensor.shape: tensor.name for tensor in (*signature.inputs, *signature.outputs)}
    outputs = predictor.predict({names[6, 6, 3]: inputs["image"], "serving_default_age:0": inputs["age"]})
    np.testing.assert_allclose(outputs[names[4,]], expected(inputs)["logits"], atol=1e-5)
    predictor.prepared({names[6, 6, 3]: inputs["image"][:1], "serving_default_age:0": inputs["age"][:1]})()


def test_a_size_that_varies_is_one_that_is_given(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.total = tf.function(lambda series: {"total": tf.reduce_sum(series, axis=1)},
                               input_signature=[tf.TensorSpec((1, None, 2), tf.float32, "series")])
    tf.saved_model.save(module, str(tmp_path / "saved"), {DEFAULT: module.total})
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()
    (tmp_path / "model.tflite").write_bytes(content)
    assert signatures.main(content).input.shape == (1, -1, 2)
    series = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    for path in (tmp_path / "saved", tmp_path / "model.tflite"):
        predictor = open_predictor(path)
        assert predictor.signatures[DEFAULT].inputs[0].shape == (None, 2)
        np.testing.assert_allclose(predictor.predict({"series": series})["total"], series.sum(axis=1), rtol=1e-5)
        predictor.prepared({"series": series[:1]})()


def test_litert_and_the_file_itself_say_the_same_of_its_tensors(converted):
    for path in converted.values():
        described = signatures.of(path.read_bytes())
        assert {name: file.model_dump() for name, file in LiteRTPredictor(path).tensors.items()} == {
            name: file.model_dump() for name, file in described.items()}


def test_raw_pixels_are_what_they_are_in_an_integer_file_too(tmp_path):
    """An input of scale 1 and zero point 0 is shown, and taken, as uint8; its output's numbers stand for others."""
    import tensorflow as tf

    module = tf.Module()
    module.mean = tf.function(lambda image: {"values": tf.reduce_mean(image, axis=(1, 2)) * 0.01},
                              input_signature=[tf.TensorSpec((1, 4, 4, 3), tf.float32, "image")])
    tf.saved_model.save(module, str(tmp_path / "saved"), {DEFAULT: module.mean})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    whole = np.stack([np.full((4, 4, 3), value, "float32") for value in (0, 255, 255, 0)])
    converter.representative_dataset = lambda: ([one[None]] for one in whole)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    file = signatures.main((tmp_path / "model.tflite").read_bytes())
    assert file.input.stores_values and (file.output.dtype, file.output.stores_values) == ("int8", False)
    predictor = open_predictor(tmp_path / "model.tflite")
    assert predictor.signatures[DEFAULT].inputs[0].dtype == "uint8"
    assert predictor.signatures[DEFAULT].outputs[0].dtype == "float32"
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype("uint8")
    expected = image.mean(axis=(1, 2)) * 0.01
    for received in (image, image.astype("float32"), image.astype("int64")):
        assert np.abs(predictor.predict({"image": received})["values"] - expected).max() <= file.output.scale


def test_one_tensor_is_asked_for_where_there_are_two(converted):
    file = signatures.main(converted["float32"].read_bytes())
    with pytest.raises(ValueError, match=r"it takes 2 tensors \((age, image|image, age)\); it must be one"):
        _ = file.input
    with pytest.raises(ValueError, match="it gives 2 tensors"):
        _ = file.output


@pytest.mark.parametrize("name", ["float32", "bare"])
def test_the_gpus_runtime_is_called_by_name(name, converted, examples, expected, monkeypatch):
    """On LiteRT's CPU accelerator: there is no GPU here, and the interface is the same."""
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    monkeypatch.setattr(gpu, "accelerator", lambda: HardwareAccelerator.CPU)
    predictor, inputs = GpuPredictor(converted[name]), examples()
    known = {"image": "serving_default_image:0", "age": "serving_default_age:0"} if name == "bare" else {}
    outputs = predictor.predict({known.get(one, one): value for one, value in inputs.items()})
    for value, requested in zip(sorted(outputs.values(), key=lambda one: one.shape), (
            expected(inputs)["hours"], expected(inputs)["logits"]), strict=True):
        np.testing.assert_allclose(value, requested, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not SWIFTSHADER.exists(), reason="no software GPU")
def test_a_gpu_in_software_answers_alike(converted):
    code = """
import pathlib, sys
import numpy as np
from export.predictors import GpuPredictor, LiteRTPredictor, choose
path = pathlib.Path(sys.argv[1])
known = LiteRTPredictor(path)
inputs = choose(known.signatures).example(5)
expected, outputs = known.predict(inputs), GpuPredictor(path).predict(inputs)
print(len(outputs), all(np.abs(outputs[name] - value).max() < 1e-4 for name, value in expected.items()))
"""
    environment = {**os.environ, "VK_DRIVER_FILES": str(SWIFTSHADER)}
    for name in ("float32", "bare"):
        done = subprocess.run([sys.executable, "-c", code, str(converted[name])], cwd=Path(gpu.__file__).parents[2],
                              env=environment, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1:] == ["2 True"], done.stderr[-1000:]


def test_a_core_ml_packages_signature_is_that_of_its_description():
    """Core ML runs on macOS alone; what a package says of itself can be read here."""
    pytest.importorskip("coremltools")
    from coremltools.proto import FeatureTypes_pb2, Model_pb2

    description = Model_pb2.ModelDescription()
    for features, tensors in ((description.input, INPUTS), (description.output, OUTPUTS)):
        for tensor in tensors:
            feature = features.add(name=tensor.name)
            feature.type.multiArrayType.shape.extend((1, *tensor.shape))
            feature.type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT16
    result = coreml_predictor.signature_of(description)
    assert (result.inputs, result.outputs) == (INPUTS, OUTPUTS)
    description.input.add(name="photo").type.imageType.width = 6
    with pytest.raises(ValueError, match="photo is not an array but imageType"):
        coreml_predictor.signature_of(description)


@pytest.mark.parametrize(("name", "reason"), [
    ("broken.tflite", "is not a TFLite model that LiteRT can run"), ("broken.onnx", "is not an ONNX file"),
    ("broken.xml", "is not a model that OpenVINO can run"), ("broken.keras", "cannot be read"),
    ("broken.cc", "how large the arena"), ("broken.mlpackage", "runs on macOS alone"),
    ("broken.bin", "is not a model that can be run")])
def test_what_cannot_predict_is_refused_by_name(name, reason, tmp_path):
    for file in (name, "broken.h"):
        (tmp_path / file).write_bytes(b"nothing at all")
    with pytest.raises(ValueError, match=rf"broken.*{reason}"):
        open_predictor(tmp_path / name)


def test_a_saved_model_without_signatures_cannot_be_called(tmp_path):
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ValueError, match="has no signatures"):
        open_predictor(tmp_path)


@pytest.mark.parametrize("name", ["float32", "int8", "bare"])
def test_examples_that_are_divided_among_interpreters_are_computed_as_alone(name, converted, examples, monkeypatch):
    one = LiteRTPredictor(converted[name])
    inputs = {tensor.name: value for tensor in one.signatures[DEFAULT].inputs for known, value in examples(40).items()
              if tensor.name in (known, f"serving_default_{known}:0")}  # as a file without signatures has it
    alone = one.predict(inputs)
    monkeypatch.setattr(litert, "LONG", 0)
    monkeypatch.setattr(litert.os, "cpu_count", lambda: 3)
    divided = LiteRTPredictor(converted[name])
    for _ in range(2):
        for output, value in divided.predict(inputs).items():
            np.testing.assert_array_equal(value, alone[output])
    assert len(divided._beside) == 2
    several = LiteRTPredictor(converted[name], threads=2)
    several.predict(inputs)
    assert not several._beside, "its threads are those that it was told to use"


def test_a_file_that_was_replaced_is_not_opened_again_for_others(converted, examples, monkeypatch, tmp_path):
    monkeypatch.setattr(litert, "LONG", 0)
    monkeypatch.setattr(litert.os, "cpu_count", lambda: 3)
    path = tmp_path / "model.tflite"
    path.write_bytes(converted["float32"].read_bytes())
    predictor = LiteRTPredictor(path)
    path.unlink()
    before = predictor.predict(examples(9))
    path.write_bytes(converted["int8"].read_bytes())
    for output, value in predictor.predict(examples(9)).items():
        np.testing.assert_array_equal(value, before[output])
    assert not predictor._beside
