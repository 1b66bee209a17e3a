"""What each operator of a TFLite file costs: every one is cut out into a file of its own and timed."""
from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.benchmark import latency
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import numpy as np

#: An int8 file that is not so many times as fast as its float32 one wants a reason.
WORTH = 1.5


class OperatorTime(BaseModel):
    """The median time of one operator, in milliseconds."""

    operator: str
    ms: float


def operator_times(content: bytes, *, threads: int = 1, runs: int = 60) -> list[OperatorTime]:
    """The time of every operator of the main graph, one after the other, those that only recode included.

    Args:
        content: the file.
        threads: processor threads to use.
        runs: timed runs of each.
    """
    model = tflite_file.read(content)
    found, unpacking = [], _unpacking(model)
    for operator in model.subgraphs[0].operators:
        name = tflite_file.operator_name(model, operator)
        if int(operator.outputs[0]) in unpacking:
            continue  # done once, when the file is loaded
        run = _prepared(_cut_out(model, operator, unpacking), threads)
        found.append(OperatorTime(operator=name, ms=latency(run, runs=runs, threads=threads).p50))
    return found


def by_kind(times: list[OperatorTime]) -> dict[str, float]:
    """Milliseconds of all operators of each kind, the most expensive kind first."""
    sums: dict[str, float] = {}
    for one in times:
        sums[one.operator] = sums.get(one.operator, 0.0) + one.ms
    return dict(sorted(sums.items(), key=lambda pair: -pair[1]))


def why_slow(exact: Mapping[str, float], rounded: Mapping[str, float]) -> str:
    """In words, where an int8 file gains less than it might: the kinds of operators, with what each costs in float32 and in int8.

    Args:
        exact, rounded: milliseconds by kind, see `by_kind`, of the float32 and of the int8 file.
    """
    total = sum(rounded.values())
    costly = [kind for kind, ms in rounded.items() if ms >= 0.05 * total]
    slow = [kind for kind in costly if exact.get(kind, 0.0) < WORTH * rounded[kind]]
    told = ", ".join(f"{kind} {exact.get(kind, 0.0):.3f} -> {rounded[kind]:.3f} ms" for kind in costly)
    why = f"{', '.join(slow)} take{'s' if len(slow) == 1 else ''} {sum(rounded[kind] for kind in slow) / total:.0%} of its time and " \
          f"gain{'s' if len(slow) == 1 else ''} less than {WORTH} times" if slow else "what the runtime does between operators weighs most"
    return f"{why} (float32 -> int8, operators on their own: {told})"


def _unpacking(model: Any) -> dict[int, Any]:
    """Tensor to the operator that makes it out of a constant in half precision."""
    graph = model.subgraphs[0]
    return {int(operator.outputs[0]): operator for operator in graph.operators
            if tflite_file.operator_name(model, operator) == "DEQUANTIZE" and _is_constant(model, graph.tensors[int(operator.inputs[0])])}


def _cut_out(model: Any, operator: Any, unpacking: Mapping[int, Any]) -> bytes:
    """A file of one operator: its constants stay constants, with what unpacks them, and its other inputs become the file's."""
    single = copy.copy(model)
    main = copy.copy(model.subgraphs[0])
    operators = [*(unpacking[int(place)] for place in operator.inputs if int(place) in unpacking), operator]
    places = sorted({int(place) for one in operators for place in (*one.inputs, *one.outputs) if place >= 0})
    main.tensors = [model.subgraphs[0].tensors[place] for place in places]
    main.operators = [copy.copy(one) for one in operators]
    for own, one in zip(main.operators, operators, strict=True):
        own.inputs = [places.index(int(place)) if place >= 0 else -1 for place in one.inputs]
        own.outputs = [places.index(int(place)) for place in one.outputs]
    alone = main.operators[-1]
    main.outputs = alone.outputs
    made = {place for own in main.operators[:-1] for place in own.outputs}
    main.inputs = [place for place in dict.fromkeys(alone.inputs)
                   if place >= 0 and place not in made and not _is_constant(model, main.tensors[place])]
    single.subgraphs, single.signatureDefs, single.metadata = [main], [], []
    kept = sorted({tensor.buffer for tensor in main.tensors} | {0})
    single.buffers = [model.buffers[place] for place in kept]
    main.tensors = [copy.copy(tensor) for tensor in main.tensors]
    for tensor in main.tensors:
        tensor.buffer = kept.index(tensor.buffer)
    single.operatorCodes = [model.operatorCodes[one.opcodeIndex] for one in operators]
    for place, own in enumerate(main.operators):
        own.opcodeIndex = place
    return tflite_file.write(single)


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _prepared(content: bytes, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    generator = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        kind = np.dtype(detail["dtype"])
        values = generator.integers(0, 100, detail["shape"]) if kind.kind in "iu" else generator.random(detail["shape"])
        interpreter.set_tensor(detail["index"], values.astype(kind))
    return interpreter.invoke
