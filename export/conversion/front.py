"""The ends of a model: what is done to each number that it takes, before numbers meet each other or a weight, and to
each that it gives, once they have."""
from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

from etils import epy

from export.tflite import file as tflite_file
from export.tflite.trace import Step, Trace

with epy.lazy_imports():
    from ai_edge_litert import schema_py_generated as schema

#: Operators that give a number for each that they take, or, of a window of one unit, its mean.
ELEMENTWISE = {"ABS", "ADD", "CAST", "DIV", "EQUAL", "EXPAND_DIMS", "MAXIMUM", "MEAN", "MINIMUM", "MUL", "NOT_EQUAL",
               "RELU", "RESHAPE", "RSQRT", "SELECT", "SELECT_V2", "SQRT", "SQUARE", "SQUEEZE", "STRIDED_SLICE", "SUB"}
#: Operators that bring numbers into other units.
ARITHMETIC = {"ADD", "DIV", "MUL", "SUB"}


def named(trace: Trace, layers: Collection[str]) -> list[int]:
    """Return the operators of layers of these names and all that comes before them, by their positions among the main
    graph's, counted from 0.

    Args:
        trace: of a TFLite file, which calls tensors after the layers that give them.
    """
    called = re.compile(rf"(^|[/;])({'|'.join(map(re.escape, layers))})(_\d+)?([/;:]|$)")
    needed: set[int] = set()
    chosen = []
    for step in reversed(trace.steps):
        if called.search(step.name) or needed & set(step.outputs):
            needed.update(map(trace.source, step.inputs))
            chosen.append(step.number)
    return chosen[::-1]


def operators(content: bytes) -> list[int]:
    """Return the operators of a file that stay float where its inputs are real numbers, by their positions among the
    main graph's, counted from 0.

    In front they change real inputs number by number, with constants that are single numbers: scale them, or replace
    what is missing. An integer file that keeps them float takes its inputs as they are, whatever their ranges, and NaN
    too, which has no integer; all that follows is integer. At the end they bring what the network says into the units
    of the data where inputs are added to it, whose ranges would leave nothing of it in 8 bits.

    Args:
        content: a float32 TFLite file, or one with its ranges noted, see `export.conversion.int8.calibrate`.
    """
    trace = Trace(content)
    graph = trace.model.subgraphs[0]
    front = {int(index) for index in graph.inputs if graph.tensors[index].type == schema.TensorType.FLOAT32}
    constants = {index for index, tensor in enumerate(graph.tensors)
                 if tflite_file.constant(trace.model, tensor) is not None}
    chosen = []
    for step in trace.steps:
        taken = [index for index in step.inputs if index >= 0 and index not in constants]
        if step.operator not in ELEMENTWISE or not taken or not set(taken) <= front:
            continue
        if math.prod(step.shape) <= max(math.prod(tflite_file.shape(graph.tensors[index])) for index in taken):
            front |= set(step.outputs)
            chosen.append(step.number)
    behind = _end(trace.steps, {int(index) for index in graph.outputs}, front, constants)
    return chosen + [number for number in behind if number not in chosen]


def _end(steps: Sequence[Step], outputs: Collection[int], front: Collection[int],
         constants: Collection[int]) -> list[int]:
    """Return the operators from where a number of the front is added to what the network says, on to the outputs; none
    where there is no such place, or where two results of the network meet behind it."""
    takers: dict[int, list[int]] = {}
    for step in steps:
        for index in step.inputs:
            takers.setdefault(index, []).append(step.number)
    end: list[Step] = []
    for step in reversed(steps):
        of_network = [index for index in step.inputs if index >= 0 and index not in front and index not in constants]
        only_ends = all(output in outputs or (takers.get(output) and set(takers[output]) <= {one.number for one in end})
                        for output in step.outputs)
        if step.operator in ELEMENTWISE and len(set(of_network)) == 1 and only_ends:
            end.append(step)
    merging = [step.number for step in end if step.operator in ARITHMETIC and set(step.inputs) & set(front)]
    return sorted(step.number for step in end if merging and step.number >= min(merging))
