"""TFLite files taken apart and put together again answer as before."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from export.conversion import convert, weight_only
from export.keras_models import graph
from export.predictors import LiteRTPredictor
from export.signature import Signature, Tensor
from export.tflite import file as tflite_file

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype("uint8")


@pytest.fixture
def files(tiny_run):
    return tiny_run / "runs" / "tiny" / "latest" / "export" / "litert"


def answers(content, folder):
    path = folder / "model.tflite"
    path.write_bytes(content)
    return LiteRTPredictor(path).predict({"image": IMAGES})["logits"]


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_what_is_read_and_written_again_answers_the_same_in_no_more_bytes(files, tmp_path, name):
    content = (files / f"{name}.tflite").read_bytes()
    again = tflite_file.write(tflite_file.read(content))
    assert len(again) <= len(content)
    np.testing.assert_array_equal(answers(again, tmp_path), answers(content, tmp_path))


def damage(model, what):
    graph = model.subgraphs[0]
    if what == "operator":
        graph.operators[0].opcodeIndex = len(model.operatorCodes)
    elif what == "input":
        graph.operators[0].inputs = [len(graph.tensors)]
    elif what == "end":
        graph.outputs = [-1]
    elif what == "buffer":
        graph.tensors[0].buffer = len(model.buffers)
    elif what == "signature":
        model.signatureDefs[0].outputs[0].name = None
    elif what == "graph":
        model.signatureDefs[0].subgraphIndex = 7


@pytest.mark.parametrize("what", ["operator", "input", "end", "buffer", "signature", "graph"])
def test_a_file_that_names_what_is_not_there_is_refused(files, what):
    model = tflite_file.read((files / "float32.tflite").read_bytes())
    damage(model, what)
    content = tflite_file.write(model)
    with pytest.raises(ValueError, match="a damaged TFLite file"):
        tflite_file.read(content)


def test_tensors_without_a_name_are_taken(files, tmp_path):
    model = tflite_file.read((files / "float32.tflite").read_bytes())
    for tensor in model.subgraphs[0].tensors:
        tensor.name = None
    content = tflite_file.write(tflite_file.read(tflite_file.write(model)))
    expected = answers((files / "float32.tflite").read_bytes(), tmp_path)
    np.testing.assert_array_equal(answers(content, tmp_path), expected)


def test_constants_lie_at_multiples_of_sixteen(files):
    content = tflite_file.slim((files / "int8.tflite").read_bytes())
    for buffer in tflite_file.read(content).buffers:
        data = bytes(buffer.data) if buffer.data is not None else b""
        if len(data) > 64:
            assert content.count(data) >= 1 and content.find(data) % 16 == 0


def test_tensors_are_named_after_their_layers_and_none_twice(files):
    tensors = tflite_file.read((files / "int8.tflite").read_bytes()).subgraphs[0].tensors
    names = [tensor.name.decode() for tensor in tensors]
    assert len(set(names)) == len(names)
    assert not any(";" in name for name in names)
    assert any(name.startswith("conv2d") for name in names)


def test_halved_weights_are_half_the_bytes_and_answer_almost_alike(files, tmp_path):
    content = (files / "float32.tflite").read_bytes()
    halved = tflite_file.halve_weights(content)
    assert len(halved) < 0.65 * len(content)
    before, after = answers(content, tmp_path), answers(halved, tmp_path)
    assert 0 < np.abs(before - after).max() < 0.05


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x18\0\0\0TFL3" + bytes(100), b"\xff\xff\0\0TFL3\xff\xff"])
def test_what_is_no_tflite_file_is_refused(content):
    with pytest.raises(ValueError, match="TFLite file"):
        tflite_file.read(content)


def test_real_values_are_scaled_by_channel(files):
    model = tflite_file.read((files / "int8.tflite").read_bytes())
    exact = tflite_file.read((files / "float32.tflite").read_bytes())
    convolutions = [[operator for name, operator in tflite_file.own_operators(one) if name == "CONV_2D"]
                    for one in (model, exact)]
    for rounded, whole in zip(*convolutions, strict=True):
        stored = tflite_file.real(model, model.subgraphs[0].tensors[rounded.inputs[1]])
        expected = tflite_file.real(exact, exact.subgraphs[0].tensors[whole.inputs[1]])
        steps = np.abs(expected).reshape(len(expected), -1).max(axis=1) / 127
        assert (np.abs(stored - expected).reshape(len(expected), -1).max(axis=1) <= steps * 0.51).all()


def test_constants_behind_the_flatbuffer_are_read_too(tmp_path):
    """As litert-quantizer writes models of more than 256 kB."""
    image = keras.Input((8, 8, 3), name="image")
    hidden = keras.layers.Dense(1500, "relu")(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(hidden))
    signature = Signature(inputs=(Tensor(name="image", dtype="float32", shape=(8, 8, 3), role="image"),),
                          outputs=(Tensor(name="logits", dtype="float32", shape=(2,), role="logits"),))
    convert.float_graph(model, lambda plain: [graph.function(plain, signature)], tmp_path / "graph")
    content = weight_only.quantize(convert.convert(tmp_path / "graph", "float32"), 8)
    outside = [one for one in schema.ModelT.InitFromPackedBuf(content, 0).buffers if one.offset > 1]
    assert outside, "the case that is tested"
    again = tflite_file.write(tflite_file.read(content))
    np.testing.assert_array_equal(answers(again, tmp_path), answers(content, tmp_path))


def test_operators_that_take_or_give_real_numbers_are_named():
    compared = tf.function(lambda x: tf.cast(x > 0.5, tf.int32) + 1, input_signature=[tf.TensorSpec((1, 4))])
    content = tf.lite.TFLiteConverter.from_concrete_functions([compared.get_concrete_function()]).convert()
    assert tflite_file.float_operators(content) == ["GREATER"]
