"""What each operator of a TFLite file costs: every one is cut out into a file of its own and timed."""
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.benchmark import latency
from export.tflite import file as tflite_file
from export.tflite.trace import Trace

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

#: An int8 file that is not this many times as fast as its float32 one wants a reason.
WORTH = 1.5
#: Operators that compute by other graphs of their file.
CALLING = ("WHILE", "IF", "CALL", "CALL_ONCE")


class OperatorTime(BaseModel):
    """The median time of one operator, in milliseconds."""

    operator: str
    ms: float


def operator_times(content: bytes, *, threads: int = 1, runs: int = 60) -> list[OperatorTime]:
    """Return the time of every operator of the main graph, in their order, those that only recode included.

    Args:
        content: the file.
        threads: processor threads to use.
        runs: timed runs of each.
    """
    model = tflite_file.read(content)
    times, unpacking = [], _unpacking(model)
    computed = _computed_integers(model, content)
    for operator in model.subgraphs[0].operators:
        name = tflite_file.operator_name(model, operator)
        if int(operator.outputs[0]) in unpacking:
            continue  # done once, when the file is loaded
        taken = [computed.get(int(index)) for index in _taken(model, operator, unpacking)]
        run = _prepared(_cut_out(model, operator, unpacking), threads, taken)
        times.append(OperatorTime(operator=name, ms=latency(run, runs=runs, threads=threads).p50))
    return times


def by_kind(times: list[OperatorTime]) -> dict[str, float]:
    """Return the milliseconds of all operators of each kind, the most expensive kind first."""
    sums: dict[str, float] = {}
    for one in times:
        sums[one.operator] = sums.get(one.operator, 0.0) + one.ms
    return dict(sorted(sums.items(), key=lambda pair: -pair[1]))


def why_slow(exact: Mapping[str, float], rounded: Mapping[str, float]) -> str:
    """Return in words where an int8 file gains less than it might: kinds of operators with their costs.

    Args:
        exact, rounded: milliseconds by kind, see `by_kind`, of the float32 and of the int8 file.
    """
    total = sum(rounded.values())
    costly = [kind for kind, ms in rounded.items() if ms >= 0.05 * total]
    slow = [kind for kind in costly if exact.get(kind, 0.0) < WORTH * rounded[kind]]
    costs = ", ".join(f"{kind} {exact.get(kind, 0.0):.3f} -> {rounded[kind]:.3f} ms" for kind in costly)
    why = "what the runtime does between operators weighs most"
    if slow:
        share, s = sum(rounded[kind] for kind in slow) / total, "s" if len(slow) == 1 else ""
        why = f"{', '.join(slow)} take{s} {share:.0%} of its time and gain{s} less than {WORTH} times"
    return f"{why} (float32 -> int8, operators on their own: {costs})"


def _unpacking(model: Any) -> dict[int, Any]:
    """Return the operators that make a tensor out of a constant in half precision, by the tensor's number."""
    graph = model.subgraphs[0]
    return {int(operator.outputs[0]): operator for operator in graph.operators
            if tflite_file.operator_name(model, operator) == "DEQUANTIZE"
            and tflite_file.is_constant(model, graph.tensors[int(operator.inputs[0])])}


def _computed_integers(model: Any, content: bytes) -> dict[int, np.ndarray]:
    """Return the whole numbers that operators are handed by others, by the tensor's number: sizes, without which an
    operator of its own cannot run, and positions, as they are for some example."""
    graph, wide = model.subgraphs[0], (schema.TensorType.INT32, schema.TensorType.INT64)
    given = {int(index) for operator in graph.operators for index in operator.outputs}
    asked = {int(index) for operator in graph.operators for index in operator.inputs
             if int(index) in given and graph.tensors[int(index)].type in wide}
    if not asked:
        return {}
    trace = Trace(content)
    trace.run(trace.signature.example())
    return {index: trace.stored(index) for index in asked}


def _taken(model: Any, operator: Any, unpacking: Mapping[int, Any]) -> list[int]:
    """Return the tensors that an operator takes, and that are neither constants nor what it remembers."""
    tensors = model.subgraphs[0].tensors
    return [index for index in dict.fromkeys(map(int, operator.inputs)) if index >= 0 and index not in unpacking
            and not tflite_file.is_constant(model, tensors[index]) and not tensors[index].isVariable]


def _cut_out(model: Any, operator: Any, unpacking: Mapping[int, Any]) -> bytes:
    """Return a file of one operator: its constants stay constants, with what unpacks them; its other inputs are the
    file's. One that computes by other graphs of the file comes with all of them."""
    operators = [*(unpacking[int(index)] for index in operator.inputs if int(index) in unpacking), operator]
    used = sorted({int(index) for one in operators for index in (*one.inputs, *one.outputs, *_inside(one))
                   if index >= 0})
    single, graph = copy.copy(model), copy.copy(model.subgraphs[0])
    graph.tensors = [copy.copy(graph.tensors[index]) for index in used]
    graph.operators = [_renumbered(one, used) for one in operators]
    graph.outputs = graph.operators[-1].outputs
    graph.inputs = [used.index(index) for index in _taken(model, operator, unpacking)]
    single.subgraphs, single.signatureDefs, single.metadata = [graph], [], []
    if tflite_file.operator_name(model, operator) in CALLING:
        single.subgraphs.extend(model.subgraphs[1:])
        return tflite_file.write(single)
    _keep_buffers(single, graph)
    single.operatorCodes = [model.operatorCodes[one.opcodeIndex] for one in operators]
    for number, own in enumerate(graph.operators):
        own.opcodeIndex = number
    return tflite_file.write(single)


def _renumbered(operator: Any, used: Sequence[int]) -> Any:
    """Return a copy of an operator whose tensors are counted among the used ones; -1 is an input that is left out."""
    own = copy.copy(operator)
    own.inputs = [used.index(int(index)) if index >= 0 else -1 for index in operator.inputs]
    own.outputs = [used.index(int(index)) for index in operator.outputs]
    own.intermediates = [used.index(index) for index in _inside(operator)] or None
    return own


def _inside(operator: Any) -> list[int]:
    """Return the tensors that stand for results inside an operator."""
    return [] if operator.intermediates is None else list(map(int, operator.intermediates))


def _keep_buffers(single: Any, graph: Any) -> None:
    """Drop the constants that the graph does not use; the first buffer is the empty one."""
    kept = sorted({tensor.buffer for tensor in graph.tensors} | {0})
    single.buffers = [single.buffers[number] for number in kept]
    for tensor in graph.tensors:
        tensor.buffer = kept.index(tensor.buffer)


def _prepared(content: bytes, threads: int, taken: Sequence[np.ndarray | None]) -> Callable[[], object]:
    """Return what runs a file on what it takes, in its order; on random numbers where that is not known."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    generator = np.random.default_rng(0)
    for detail, known in zip(interpreter.get_input_details(), taken, strict=True):
        kind = np.dtype(detail["dtype"])
        if known is not None and known.shape == tuple(detail["shape"]):
            values = known
        elif kind.kind in "iu":  # quantized numbers; wider ones may be positions, of which the first is always there
            values = generator.integers(0, 100 if kind.itemsize < 4 else 1, detail["shape"])
        else:
            values = generator.random(detail["shape"])
        interpreter.set_tensor(detail["index"], values.astype(kind))
    return interpreter.invoke
