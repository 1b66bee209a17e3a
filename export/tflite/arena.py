"""How much memory the tensors of a TFLite file need while it runs, when those that are not needed at the same time share it."""
from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from export.tflite import file as tflite_file

ALIGNMENT = 16
#: Bytes of a number, by TFLite's type of it; four where it is another.
WIDTHS = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1}


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
    """Places the tensors of the main graph greedily, the largest first, as TensorFlow Lite Micro's planner does (Pisarchyk & Lee 2020)."""
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
    used = [sum(one.size for one in placed if one.first <= place <= one.last) for place in range(len(graph.operators))]
    place = max(range(len(used)), key=lambda one: used[one])
    operator = graph.operators[place]
    layer = tflite_file.layer_name(graph.tensors[int(operator.outputs[0])].name.decode())
    return Arena(bytes=max((one.offset + one.size for one in placed), default=0),
                 peak=f"operator {place}, {tflite_file.operator_name(model, operator)} {layer}")


def _lifetimes(model: Any, graph: Any) -> dict[int, _Tensor]:
    """Place of each tensor that is computed to the first and the last operator that needs it."""
    found: dict[int, _Tensor] = {}
    last = len(graph.operators) - 1

    def seen(tensor: int, operator: int) -> None:
        own = graph.tensors[tensor]
        data = model.buffers[own.buffer].data
        if data is not None and len(data):
            return
        if tensor not in found:
            count = 1
            for size in own.shape if own.shape is not None else ():
                count *= max(1, int(size))
            size = count * WIDTHS.get(own.type, 4)
            found[tensor] = _Tensor(size=-(-size // ALIGNMENT) * ALIGNMENT, first=operator, last=operator)
        found[tensor].last = max(found[tensor].last, operator)

    for tensor in map(int, graph.inputs):
        seen(tensor, 0)
    for place, operator in enumerate(graph.operators):
        for tensor in (*map(int, operator.inputs), *map(int, operator.outputs)):
            if tensor >= 0:
                seen(tensor, place)
    for tensor in map(int, graph.outputs):
        seen(tensor, last)
    return found
