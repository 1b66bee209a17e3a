"""What a TFLite file holds: signatures, operators, weights, multiply-adds, memory, quantization, metadata."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from export.tflite import arena, metadata
from export.tflite import file as tflite_file

#: Operators that multiply weights with activations, and the position of their weights among their inputs.
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
    """Return what is in a TFLite file. Raises ValueError where it is not one."""
    model = tflite_file.read(content)
    graph, planned = model.subgraphs[0], arena.plan(content)
    tensors = [_tensor(model, tensor) for tensor in graph.tensors]
    return Inspection(
        bytes=len(content), operators=tflite_file.operators(content), signatures=_signatures(model),
        weights=sum(math.prod(tensors[index].shape) for index in _weights(model, graph, tensors)),
        multiply_adds=_multiply_adds(model, graph), arena_bytes=planned.bytes, peak=planned.peak,
        minimum_runtime=tflite_file.minimum_runtime(content), tensors=tensors, about=metadata.read(content))


def _tensor(model: Any, tensor: Any) -> TensorInfo:
    scales = tflite_file.scales(tensor)
    shape = tflite_file.shape(tensor) if tensor.shapeSignature is None else map(int, tensor.shapeSignature)
    info = TensorInfo(name=tensor.name.decode(), dtype=tflite_file.dtype(tensor), shape=list(shape),
                      constant=tflite_file.is_constant(model, tensor), scales=len(scales))
    if len(scales) == 1:
        info.scale, info.zero_point = scales[0], int(tensor.quantization.zeroPoint[0])
    return info


def _signatures(model: Any) -> dict[str, dict[str, dict[str, str]]]:
    def described(graph: Any, entries: Iterable[Any]) -> dict[str, str]:
        return {entry.name.decode(): describe(_tensor(model, graph.tensors[entry.tensorIndex])) for entry in entries}

    signatures = {}
    for definition in model.signatureDefs or []:
        graph = model.subgraphs[definition.subgraphIndex]
        signatures[definition.signatureKey.decode()] = {
            "inputs": described(graph, definition.inputs), "outputs": described(graph, definition.outputs)}
    return signatures


def describe(tensor: TensorInfo) -> str:
    """Return a tensor in a few words."""
    quantized = f", (stored - {tensor.zero_point}) * {tensor.scale:.6g}" if tensor.scale is not None else ""
    return f"{tensor.dtype} ({', '.join('?' if size < 0 else str(size) for size in tensor.shape)}){quantized}"


def _weights(model: Any, graph: Any, tensors: list[TensorInfo]) -> set[int]:
    """Return the numbers of the constants that operators compute with, not of the shapes, axes and paddings."""
    weights = set()
    for operator in graph.operators:
        multiplies = tflite_file.operator_name(model, operator) in MULTIPLYING
        constants = {index for index in map(int, operator.inputs) if index >= 0 and tensors[index].constant}
        weights |= {index for index in constants if multiplies or tensors[index].dtype not in ("int32", "int64")}
    return weights


def _multiply_adds(model: Any, graph: Any) -> int:
    total = 0
    for operator in graph.operators:
        name = tflite_file.operator_name(model, operator)
        if name not in MULTIPLYING:
            continue
        kernel = tflite_file.shape(graph.tensors[int(operator.inputs[MULTIPLYING[name]])])
        # a transposed convolution multiplies each value of its input, the others make each of their output
        values = graph.tensors[int(operator.inputs[2] if name == "TRANSPOSE_CONV" else operator.outputs[0])]
        each = kernel[1] * kernel[2] if name == "DEPTHWISE_CONV_2D" else math.prod(kernel[1:])
        total += math.prod(tflite_file.shape(values)) * each
    return total
