"""Weights in blocks of 4 bits, against what such rounding may do at most."""
import numpy as np
import pytest
import tensorflow as tf

import models
from export.conversion import blocks, convert, weight_only
from export.targets import litert_lm
from export.tflite import file as tflite_file
from models.chunks import ChunkedDecoder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """A decoder of two signatures, as a float32 file."""
    model = models.build("llama", length=32, vocabulary=300, depth=2, units=64, heads=4, groups=2)
    folder = tmp_path_factory.mktemp("decoder") / "graph"
    convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), (8,)), folder)
    return convert.convert(folder, "float32")


def constants(content, kind):
    """Return the type and the number of scales of each constant that operators of a kind read, by its shape."""
    model = tflite_file.read(content)
    read = [graph.tensors[number] for graph in model.subgraphs for operator in graph.operators
            if tflite_file.operator_name(model, operator) == kind for number in operator.inputs if number >= 0]
    return {tflite_file.shape(one): (tflite_file.dtype(one), len(tflite_file.scales(one))) for one in read
            if len(tflite_file.shape(one)) == 2 and tflite_file.is_constant(model, one)}


def test_layers_are_in_4_bits_and_the_last_one_and_the_embedding_in_8(decoder):
    content = blocks.quantize(decoder, 32)
    dense = constants(content, "FULLY_CONNECTED")
    assert dense.pop((300, 64))[0] == "int8" and {kind for kind, _ in dense.values()} == {"int4"}
    assert constants(content, "EMBEDDING_LOOKUP")[300, 64][0] == "int8"
    assert blocks.in_float(content) == []
    assert len(content) < len(weight_only.dynamic(decoder)) < len(decoder)


def test_it_answers_nearly_as_before(decoder):
    answers = []
    for content in (decoder, blocks.quantize(decoder, 32)):
        runner = tf.lite.Interpreter(model_content=content).get_signature_runner("decode")
        given = {name: np.zeros(one["shape"], one["dtype"]) for name, one in runner.get_input_details().items()}
        answers.append(runner(**{**given, "tokens": np.array([[5]], np.int32)})["logits"].ravel())
    exact, rounded = answers
    assert np.corrcoef(exact, rounded)[0, 1] > 0.95 and np.abs(exact - rounded).max() > 1e-6


def test_blocks_that_do_not_divide_a_width_are_refused(decoder):
    with pytest.raises(ValueError, match="int4_blocks: a dense layer reads 64 numbers, which blocks of 128 do not "
                                         "divide; give block: 32"):
        blocks.quantize(decoder, 128)


def test_a_file_that_stays_as_large_is_refused(decoder):
    """Blocks of 8 bits leave all weights as they are, and say nothing."""
    rounded = weight_only._quantized(decoder, "dynamic_wi8b32_afp32")
    with pytest.raises(ValueError, match=r"bytes, and .* in float32: its weights are not in dense layers"):
        blocks.checked(rounded, decoder)


def test_a_file_without_inner_layers_is_refused(tmp_path):
    one = tf.keras.Sequential([tf.keras.layers.Input((64,)), tf.keras.layers.Dense(8, name="logits")])
    content = tf.lite.TFLiteConverter.from_keras_model(one).convert()
    with pytest.raises(ValueError, match="dense layers before the last one, and there are none; use int4_weights"):
        blocks.quantize(content, 32)
