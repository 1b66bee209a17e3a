"""The front of a model: what is done to each number that it takes, before numbers meet each other or a weight."""
from __future__ import annotations

import math
import re
from collections.abc import Collection

from etils import epy

from export.tflite import file as tflite_file
from export.tflite.trace import Trace

with epy.lazy_imports():
    from ai_edge_litert import schema_py_generated as schema

#: Operators that give a number for each that they take.
ELEMENTWISE = {"ADD", "CAST", "DIV", "EQUAL", "EXPAND_DIMS", "MAXIMUM", "MINIMUM", "MUL", "NOT_EQUAL", "RELU",
               "RESHAPE", "SELECT", "SELECT_V2", "SQUEEZE", "STRIDED_SLICE", "SUB"}


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
    """Return the operators of a file's front, by their positions among the main graph's, counted from 0.

    They change real inputs number by number, with constants that are single numbers: scale them, or replace what is
    missing. An integer file that keeps them float takes its inputs as they are, whatever their ranges, and NaN too,
    which has no integer; all that follows is integer.

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
    return chosen
