"""What is read out of a TFLite file, held against TensorFlow Lite Micro, the Keras model and a hand's count."""
import os
import re
import tempfile

import pytest

from export.artifacts import Coverage, Unsupported
from export.keras_models import file as keras_file
from export.targets import replacements
from export.tflite import arena, gpu_coverage, inspection
from models.census import multiply_adds
from tests.export.predictors.conftest import converted, examples, saved, weights

__all__ = ["converted", "examples", "saved", "weights"]


@pytest.fixture(scope="module")
def files(run):
    return {path.stem: path.read_bytes() for path in (run / "compress").glob("*.tflite")}


def test_the_planned_arena_is_what_tensorflow_lite_micro_allocates(files):
    runtime = pytest.importorskip("tflite_micro").runtime
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2), os.dup(1)
        os.dup2(file.fileno(), 2), os.dup2(file.fileno(), 1)
        runtime.Interpreter.from_bytes(files["int8"], arena_size=2**20).print_allocations()
        os.dup2(kept[0], 2), os.dup2(kept[1], 1)
        file.seek(0)
        head = int(re.search(rb"Arena allocation head (\d+) bytes", file.read())[1])
    assert arena.plan(files["int8"]).bytes == pytest.approx(head, rel=0.02)


def test_weights_and_multiply_adds_are_those_of_the_model(files, run):
    result = inspection.inspect(files["float32"])
    model = keras_file.load(run / "train" / "model.keras")
    assert result.multiply_adds == pytest.approx(multiply_adds(model), rel=0.02)
    normalizations = [layer for layer in model.layers if "BatchNormalization" in type(layer).__name__]
    foldable = sum(int(weight.shape[0]) for layer in normalizations for weight in layer.weights)
    assert model.count_params() - foldable <= result.weights <= model.count_params()
    assert result.signatures == {"serving_default": {
        "inputs": {"image": "float32 (1, 8, 8, 3)"}, "outputs": {"logits": "float32 (1, 10)"}}}


def test_the_quantization_of_each_tensor_is_shown(files):
    result = inspection.inspect(files["int8"])
    assert all(tensor.scales for tensor in result.tensors if tensor.dtype == "int8")
    assert any(tensor.scales > 1 for tensor in result.tensors), "weights have a scale per channel"
    assert "(stored - 0) * 1" in result.signatures["serving_default"]["inputs"]["image"]


def test_every_signature_and_every_tensor_of_it_is_shown(converted):
    result = inspection.inspect(converted["both"].read_bytes())
    assert result.signatures == {
        "serving_default": {"inputs": {"age": "float32 (1, 2)", "image": "float32 (1, 6, 6, 3)"},
                            "outputs": {"hours": "float32 (1, 2)", "logits": "float32 (1, 4)"}},
        "doubled": {"inputs": {"tokens": "int32 (1, 3)"}, "outputs": {"tokens": "int32 (1, 3)"}}}


def test_all_inputs_and_outputs_are_in_the_arena(converted):
    """The image, which is needed until its mean is computed, the age, and what both dense layers make of it; sizes are
    multiples of 16 bytes."""
    assert arena.plan(converted["float32"].read_bytes()).bytes == 6 * 6 * 3 * 4 + 16 + 2 * 16


def refused(function, *shapes):
    """Operator to the reason why a GPU does not run it, of a function of float inputs."""
    import tensorflow as tf

    traced = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], tf.Module())
    return {one.operator: one.reason for one in gpu_coverage.coverage(converter.convert()).left}


def test_the_gpu_refuses_with_a_reason():
    import tensorflow as tf

    image = (1, 8, 8, 4)
    assert refused(lambda one: tf.pad(one[:, 1:5, 2:6], [[0, 0], [1, 1], [1, 1], [0, 0]]), image) == {}
    assert refused(lambda one, other: one + other, (1, 8, 1, 4), image) == {}
    assert "larger" not in refused(lambda one, other: one * other, (1, 8, 1, 4), image)
    neither = refused(lambda one, other: one + other, (1, 8, 1, 4), (1, 1, 8, 4))
    assert neither == {"ADD": "neither of its tensors is at least as large as the other in every dimension; "
                              "write it as a 1 x 1 convolution"}
    assert "x[:, 0:1]" in refused(lambda one: one[:, 0], image)["STRIDED_SLICE"]
    assert "three or four dimensions" in refused(lambda one: tf.pad(one, [[0, 0], [1, 1]]), (1, 8))["PAD"]
    assert "more than four dimensions" in refused(lambda one: tf.nn.relu(one), (1, 2, 2, 2, 2))["RELU"]
    unknown = refused(lambda one: tf.cumsum(tf.math.top_k(one, 2).values), (1, 8))
    assert unknown == {"TOPK_V2": "the delegate does not know it"}


def test_advice_names_each_kind_once_with_the_reason_and_what_would_run():
    left = [*(Unsupported(operator="GELU", layer=layer, reason="no table") for layer in "ab"),
            Unsupported(operator="ODD")]
    message = replacements.advice(Coverage(accelerator="npu", taken=7, total=10, left=left))
    assert message == ["GELU x 2 stays on the CPU: no table. Instead: hard_swish or relu6 in the place of gelu and "
                       "swish",
                    "ODD stays on the CPU"]
