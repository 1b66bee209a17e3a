"""Integers at both ends of a file: images as uint8, every other real number as int8."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etils import epy

from export.signature import Signature
from export.tflite import edit, signatures
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import tensorflow as tf
    from ai_edge_litert import schema_py_generated as schema


def with_integer_io(content: bytes) -> bytes:
    """Return an integer file that takes and gives integers where it took and gave float32.

    What is not quantized, such as int32, stays as it is.

    Args:
        content: a TFLite file. It is returned as it is where the first operator on a float input does not quantize
            it, or the last one on a float output does not dequantize it.
    """
    from tensorflow.lite.python import util

    if not _is_integer_inside(content):
        return content
    return edit.with_unsigned_images(bytes(util.modify_model_io_type(content, *types_of(content))))


def types_of(content: bytes) -> tuple[tf.DType, tf.DType]:
    """Return the integers that the converter is to give the float inputs of a file, and its float outputs."""
    return input_type(signature.signature() for signature in signatures.of(content).values()), tf.int8


def input_type(taken: Iterable[Signature]) -> tf.DType:
    """Return the integer that the converter is to give all float inputs: uint8 where they are images, else int8, of
    which `export.tflite.edit.with_unsigned_images` makes uint8 where one is an image all the same."""
    roles = {tensor.role for signature in taken for tensor in signature.inputs if tensor.dtype == "float32"}
    return tf.uint8 if roles == {"image"} else tf.int8


def _is_integer_inside(content: bytes) -> bool:
    """Return whether every float input is only seen by what quantizes it, and every float output is dequantized
    last."""
    model = tflite_file.read(content)
    return all(_quantizes_its_ends(model, graph) for graph in model.subgraphs)


def _quantizes_its_ends(model: Any, graph: Any) -> bool:
    taken = {index for index in map(int, graph.inputs) if graph.tensors[index].type == schema.TensorType.FLOAT32}
    value = {index for index in map(int, graph.outputs) if graph.tensors[index].type == schema.TensorType.FLOAT32}
    for operator in graph.operators or []:
        name = tflite_file.operator_name(model, operator)
        if name != "QUANTIZE" and taken & set(map(int, operator.inputs)):
            return False
        if name != "DEQUANTIZE" and value & set(map(int, operator.outputs)):
            return False
    return not taken & value
