"""TFLite files as phone frameworks open them: metadata inside, and integer scores that MediaPipe Tasks can read."""
from __future__ import annotations

import copy

from etils import epy

from export import metadata, tflite_file

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema


def ready(content: bytes, about: metadata.Description) -> bytes:
    """The same model with metadata, its int8 output as uint8. Raises ValueError where the labels do not fit."""
    return metadata.embed(with_unsigned_output(content), about)


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
    for signature in model.signatureDefs or []:
        for output in signature.outputs:
            if output.tensorIndex == inner:
                output.tensorIndex = place
    return tflite_file.write(model)
