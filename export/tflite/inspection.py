"""What a TFLite file holds: signatures, operators, weights, multiply-adds, memory, quantization, metadata."""
from __future__ import annotations

import math
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.tflite import arena, metadata
from export.tflite import file as tflite_file

with epy.lazy_imports():
    from ai_edge_litert import schema_py_generated as schema

#: Operators that multiply weights with activations: the place of their weights among their inputs.
MULTIPLYING = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}


class TensorInfo(BaseModel):
    """A tensor. `scales` counts those of its quantization: none for real numbers, one, or one per channel."""

    name: str
    dtype: str
    shape: list[int]
    constant: bool
    scales: int = 0
    scale: float | None = None
    zero_point: int | None = None


class Inspection(BaseModel):
    """A TFLite file.

    Args:
        signatures: name to inputs and outputs, each name to its tensor as text.
        operators: kind to how often it stands in the file.
        weights: numbers in constant tensors that operators compute with.
        multiply_adds: of one inference, in convolutions and dense layers.
        arena_bytes: of the tensors between operators, placed.
        peak: where most of them are needed at once.
    """

    bytes: int
    signatures: dict[str, dict[str, dict[str, str]]]
    operators: dict[str, int]
    weights: int
    multiply_adds: int
    arena_bytes: int
    peak: str
    minimum_runtime: str
    tensors: list[TensorInfo]
    about: metadata.Description | None = None


def inspect(content: bytes) -> Inspection:
    """Looks into a TFLite file. Raises ValueError where it is none."""
    model = tflite_file.read(content)
    graph, planned = model.subgraphs[0], arena.plan(content)
    tensors = [_tensor(model, tensor) for tensor in graph.tensors]
    return Inspection(
        bytes=len(content), operators=tflite_file.operators(content), signatures=_signatures(model, tensors),
        weights=sum(math.prod(tensors[place].shape) for place in _weights(model, graph, tensors)),
        multiply_adds=_multiply_adds(model, graph), arena_bytes=planned.bytes, peak=planned.peak,
        minimum_runtime=tflite_file.minimum_runtime(content), tensors=tensors, about=metadata.read(content))


def _tensor(model: Any, tensor: Any) -> TensorInfo:
    data, quantization = model.buffers[tensor.buffer].data, tensor.quantization
    scales = [] if quantization is None or quantization.scale is None else list(map(float, quantization.scale))
    names = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return TensorInfo(name=tensor.name.decode(), dtype=names[tensor.type], shape=[] if shape is None else list(map(int, shape)),
                      constant=data is not None and len(data) > 0, scales=len(scales), scale=scales[0] if len(scales) == 1 else None,
                      zero_point=int(quantization.zeroPoint[0]) if len(scales) == 1 else None)


def _signatures(model: Any, tensors: list[TensorInfo]) -> dict[str, dict[str, dict[str, str]]]:
    def shown(mapped: Any) -> dict[str, str]:
        return {one.name.decode(): describe(tensors[one.tensorIndex]) for one in mapped}

    return {signature.signatureKey.decode(): {"inputs": shown(signature.inputs), "outputs": shown(signature.outputs)}
            for signature in model.signatureDefs or []}


def describe(tensor: TensorInfo) -> str:
    """A tensor in a few words."""
    quantized = f", (stored - {tensor.zero_point}) * {tensor.scale:.6g}" if tensor.scale is not None else ""
    return f"{tensor.dtype} ({', '.join('?' if size < 0 else str(size) for size in tensor.shape)}){quantized}"


def _weights(model: Any, graph: Any, tensors: list[TensorInfo]) -> set[int]:
    """Places of the constants that operators compute with: not the shapes, axes and paddings that say how."""
    found = set()
    for operator in graph.operators:
        name = tflite_file.operator_name(model, operator)
        for tensor in map(int, operator.inputs):
            if tensor >= 0 and tensors[tensor].constant and (name in MULTIPLYING or tensors[tensor].dtype not in ("int32", "int64")):
                found.add(tensor)
    return found


def _multiply_adds(model: Any, graph: Any) -> int:
    total = 0
    for operator in graph.operators:
        name = tflite_file.operator_name(model, operator)
        if name not in MULTIPLYING:
            continue
        kernel = list(map(int, graph.tensors[int(operator.inputs[MULTIPLYING[name]])].shape))
        outputs = math.prod(map(int, graph.tensors[int(operator.outputs[0])].shape))
        if name == "TRANSPOSE_CONV":
            outputs = math.prod(map(int, graph.tensors[int(operator.inputs[2])].shape))
        total += outputs * (kernel[1] * kernel[2] if name == "DEPTHWISE_CONV_2D" else math.prod(kernel[1:]))
    return total
