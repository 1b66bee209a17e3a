"""How much memory the tensors of a TFLite file need while it runs; those that are not needed at once share it."""
from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel

from export.tflite import file as tflite_file

ALIGNMENT = 16
#: Bytes of a number, by its type; four where it is another.
WIDTHS = {"float32": 4, "float16": 2, "int32": 4, "uint8": 1, "int64": 8, "bool": 1, "int16": 2, "int8": 1}


class Arena(BaseModel):
    """The arena of a file.

    Args:
        bytes: of all tensors, placed.
        peak: the operator during which most bytes are in use at once, by its number, kind and layer.
    """

    bytes: int
    peak: str


class _Tensor(BaseModel):
    size: int
    first: int
    last: int
    offset: int = 0

    def overlaps(self, other: _Tensor) -> bool:
        return self.first <= other.last and other.first <= self.last


def plan(content: bytes) -> Arena:
    """Return the arena where tensors of the main graph are placed greedily, the largest first, as TensorFlow Lite
    Micro's planner does it (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference")."""
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    tensors = _lifetimes(model, graph)
    placed: list[_Tensor] = []
    for tensor in sorted(tensors.values(), key=lambda one: (-one.size, one.first)):
        offset = 0
        for other in sorted((one for one in placed if one.overlaps(tensor)), key=lambda one: one.offset):
            if other.offset - offset >= tensor.size:
                break
            offset = max(offset, other.offset + other.size)
        tensor.offset = offset
        placed.append(tensor)
    used = [sum(one.size for one in placed if one.first <= number <= one.last)
            for number in range(len(graph.operators))]
    peak = max(range(len(used)), key=lambda number: used[number])
    operator = graph.operators[peak]
    layer = tflite_file.layer_name(graph.tensors[int(operator.outputs[0])].name.decode())
    return Arena(bytes=max((one.offset + one.size for one in placed), default=0),
                 peak=f"operator {peak}, {tflite_file.operator_name(model, operator)} {layer}")


def _lifetimes(model: Any, graph: Any) -> dict[int, _Tensor]:
    """Return, by its number, each tensor that is computed, with the first and the last operator that needs it."""
    lifetimes: dict[int, _Tensor] = {}

    def needed(index: int, operator: int) -> None:
        if tflite_file.is_constant(model, graph.tensors[index]):
            return
        if index not in lifetimes:
            lifetimes[index] = _Tensor(size=_aligned_bytes(graph.tensors[index]), first=operator, last=operator)
        lifetimes[index].last = max(lifetimes[index].last, operator)

    for index in map(int, graph.inputs):
        needed(index, 0)
    for number, operator in enumerate(graph.operators):
        for index in (*map(int, operator.inputs), *map(int, operator.outputs)):
            if index >= 0:
                needed(index, number)
    for index in map(int, graph.outputs):
        needed(index, len(graph.operators) - 1)
    return lifetimes


def _aligned_bytes(tensor: Any) -> int:
    count = math.prod(max(1, size) for size in tflite_file.shape(tensor))
    size = count * WIDTHS.get(tflite_file.dtype(tensor), 4)
    return -(-size // ALIGNMENT) * ALIGNMENT
