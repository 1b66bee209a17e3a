"""Parts of a network that 8-bit integers may ruin, by the operators that they are in a file."""
from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from etils import epy

from export.tflite import file as tflite_file
from export.tflite.trace import Step, Trace

with epy.lazy_imports():
    from ai_edge_litert import schema_py_generated as schema

#: `conditions`: what is made of inputs that are no maps, until maps see it: a diffusion's step becomes waves, which are
#: nothing once it is rounded. `normalization`: of batches, groups or layers where it is not part of a convolution.
#: `attention`: the products of all positions, and the softmax between. `ends`: the first convolution and the last.
Part = Literal["conditions", "normalization", "attention", "ends"]
ATTENTION = {"BATCH_MATMUL", "SOFTMAX"}
WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}
#: What the names of operators that normalize have in common: of their layer, and of means and variances in it.
NORMALIZATION = ("normalization", "moments")
#: Dimensions of maps, with the batch.
MAPS = 4


def operators(content: bytes, parts: Collection[Part]) -> list[int]:
    """Return the operators of some parts, by their positions among the main graph's, counted from 0.

    Args:
        content: a float32 TFLite file, or one with its ranges noted, see `export.conversion.int8.calibrate`.
    """
    trace = Trace(content)
    chosen: set[int] = set()
    if "conditions" in parts:
        chosen |= _of_conditions(trace)
    if "normalization" in parts:
        chosen |= {step.number for step in trace.steps if any(word in step.name for word in NORMALIZATION)}
    if "attention" in parts:
        chosen |= {step.number for step in trace.steps if step.operator in ATTENTION}
    weighted = [step.number for step in trace.steps if step.operator in WEIGHTED]
    if "ends" in parts and weighted:
        chosen |= {weighted[0], weighted[-1]}
    return sorted(chosen)


def _of_conditions(trace: Trace) -> set[int]:
    """Return the operators that see nothing but inputs that are no maps; none where there are no maps beside."""
    graph = trace.model.subgraphs[0]
    known = {int(index) for index in graph.inputs if _is_condition(graph.tensors[int(index)])}
    if len(known) == len(graph.inputs):
        return set()
    constants = {index for index, tensor in enumerate(graph.tensors)
                 if tflite_file.constant(trace.model, tensor) is not None}
    chosen: set[int] = set()
    for step in trace.steps:
        taken = _taken(step, constants)
        if taken and taken <= known:
            known |= set(step.outputs)
            chosen.add(step.number)
    return chosen


def _is_condition(tensor: Any) -> bool:
    return tensor.type == schema.TensorType.FLOAT32 and len(tflite_file.shape(tensor)) < MAPS


def _taken(step: Step, constants: Collection[int]) -> set[int]:
    return {index for index in step.inputs if index >= 0 and index not in constants}
