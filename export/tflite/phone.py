"""TFLite files as phone frameworks open them: metadata inside, and integer scores that MediaPipe Tasks can read."""
from __future__ import annotations

import copy
from typing import Any

from etils import epy

from export.tflite import file as tflite_file
from export.tflite import metadata

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema


def ready(content: bytes, about: metadata.Description, rgb: bool = True) -> bytes:
    """The same model with metadata, its int8 output as uint8.

    Args:
        content: a TFLite file of one picture and one output.
        about: what it says of itself.
        rgb: a model of grey pictures takes RGB, and averages it.

    Raises:
        ValueError: the labels do not fit.
    """
    return metadata.embed(with_rgb_input(with_unsigned_output(content)) if rgb else with_unsigned_output(content), about)


def with_rgb_input(content: bytes) -> bytes:
    """The same model, averaging the three colours of its input where it took grey pictures: cameras give RGB, and MediaPipe's image tasks
    refuse anything else. A grey picture that is repeated to three channels gets the same answer."""
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    inner = int(graph.inputs[0])
    grey = graph.tensors[inner]
    if len(graph.inputs) != 1 or grey.shape is None or len(grey.shape) != 4 or int(grey.shape[-1]) != 1:
        return content
    outer = copy.copy(grey)
    outer.shape, outer.shapeSignature = np.array([*grey.shape[:3], 3], "int32"), None
    grey.name = grey.name + b"/grey"
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.array([3], "int32").tobytes(), "uint8")
    model.buffers.append(buffer)
    axis = schema.TensorT()
    axis.name, axis.shape, axis.type, axis.buffer = b"colours", np.array([1], "int32"), schema.TensorType.INT32, len(model.buffers) - 1
    axis.hasRank, axis.isVariable = True, False
    graph.tensors += [outer, axis]
    place = len(graph.tensors) - 2
    operator = schema.OperatorT()
    operator.opcodeIndex = tflite_file.operator_code(model, schema.BuiltinOperator.MEAN)
    operator.inputs, operator.outputs = [place, place + 1], [inner]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT()
    operator.builtinOptions.keepDims = True
    graph.operators = [operator, *graph.operators]
    graph.inputs = [place]
    _point_signatures(model, inner, place)
    return tflite_file.write(model)


def with_unsigned_output(content: bytes) -> bytes:
    """The same model, its output uint8 where it was int8: MediaPipe's tasks read float32 and uint8 only. The values stay the same."""
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    inner = int(graph.outputs[0])
    signed = graph.tensors[inner]
    if len(graph.outputs) != 1 or signed.type != schema.TensorType.INT8:
        return content
    outer = copy.copy(signed)
    outer.type, outer.buffer, outer.quantization = schema.TensorType.UINT8, 0, copy.copy(signed.quantization)
    outer.quantization.zeroPoint = np.asarray(signed.quantization.zeroPoint) + 128
    signed.name = signed.name + b"/int8"
    graph.tensors.append(outer)
    place = len(graph.tensors) - 1
    operator = schema.OperatorT()
    operator.opcodeIndex = tflite_file.operator_code(model, schema.BuiltinOperator.QUANTIZE)
    operator.inputs, operator.outputs = [inner], [place]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.QuantizeOptions, schema.QuantizeOptionsT()
    graph.operators.append(operator)
    graph.outputs = [place]
    _point_signatures(model, inner, place)
    return tflite_file.write(model)


def _point_signatures(model: Any, old: int, new: int) -> None:
    """Lets the signatures begin or end at another tensor."""
    for signature in model.signatureDefs or []:
        for mapped in (*signature.inputs, *signature.outputs):
            if mapped.tensorIndex == old:
                mapped.tensorIndex = new
