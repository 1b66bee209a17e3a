"""TFLite's LSTM operator, UNIDIRECTIONAL_SEQUENCE_LSTM, as it must stand in a file to compute what Keras does: without
the bound that the converter sets on cells, with one scale for what it gives and what it remembers, and without memory
from one call to the next."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epy

from export.tflite import file as tflite_file
from export.tflite.edit import operator_of

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

KIND = "UNIDIRECTIONAL_SEQUENCE_LSTM"
#: Its inputs that hold what it remembers: its output, and its cell.
HIDDEN, CELL = 18, 19
#: Its inputs that hold weights: of the sequence, of what it remembers, and biases, gate by gate.
KERNELS, RECURRENT, BIASES = range(1, 5), range(5, 9), range(12, 16)
#: Its intermediate result whose range is that of the output.
INTERMEDIATE = 4
#: How far the cells of integers reach, at least and at most: the kernel's tanh takes 0 to 6 bits before the point, and
#: answers nonsense of others.
SMALLEST_CELL, LARGEST_CELL = 1.0, 64.0
#: How far they reach where nobody knows.
UNKNOWN_CELL = 16.0
#: Operators that hand on what they are given, at the scale of it.
HANDS_ON = ("REVERSE_V2", "GATHER", "GATHER_ND", "STRIDED_SLICE", "SLICE", "RESHAPE", "TRANSPOSE", "SQUEEZE",
            "EXPAND_DIMS", "PACK", "CONCATENATION", "PAD")


def is_in(content: bytes) -> bool:
    """Return whether a file has LSTM operators."""
    return KIND in tflite_file.operators(content)


def without_bound(content: bytes) -> bytes:
    """Return the same file whose cells have no bound: the converter sets one of 10, which Keras does not have."""
    model = tflite_file.read(content)
    for _, operator in operators(model):
        operator.builtinOptions.cellClip = 0.0
    return tflite_file.write(model)


def with_whole_ranges(calibrated: bytes, cells: Mapping[int, float]) -> bytes:
    """Return a calibrated file in which every LSTM's output reaches from -1 to 1, which is as far as it can, whatever
    the examples were, and so does what is handed on of outputs alone: two directions that are joined, for instance.

    Of small outputs, below a half, all of which have fewer than seven bits then, it reaches twice as far as was seen.

    Args:
        cells: how far those of each LSTM reach, by the number of its output tensor in the main graph; what it says is
            kept between 1 and 64, see `SMALLEST_CELL`.
    """
    model = tflite_file.read(calibrated)
    for graph in model.subgraphs:
        known = cells if graph is model.subgraphs[0] else {}
        reach: dict[int, float] = {}
        for operator in graph.operators:
            name, output = tflite_file.operator_name(model, operator), int(operator.outputs[0])
            if name == KIND:
                seen = _largest(graph.tensors[output])
                reach[output] = 1.0 if seen >= 0.5 else 2 * seen or 1.0
                cell = graph.tensors[int(operator.inputs[CELL])]
                most = known.get(output, UNKNOWN_CELL)
                _set_range(cell, min(max(most, SMALLEST_CELL), LARGEST_CELL))
                inside = operator.intermediates
                for number in (int(operator.inputs[HIDDEN]), *([] if inside is None else inside[INTERMEDIATE:])):
                    _set_range(graph.tensors[int(number)], reach[output])
            elif name in HANDS_ON and (real := _real(graph, operator)) and real <= reach.keys():
                reach[output] = max(reach[number] for number in real)
        for number, most in reach.items():
            _set_range(graph.tensors[number], most)
    return tflite_file.write(model)


def with_int8_weights(content: bytes) -> bytes:
    """Return a float32 file whose LSTMs' weights are in int8, a scale per unit of each gate, and are unpacked into the
    float32 that they compute with."""
    model = tflite_file.read(content)
    for graph, operator in list(operators(model)):
        for index in (*KERNELS, *RECURRENT):
            number = int(operator.inputs[index])
            values = tflite_file.constant(model, graph.tensors[number]) if number >= 0 else None
            if values is not None and values.dtype == np.float32:
                _round(model, graph, operator, number, values)
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    for number, buffer in enumerate(model.buffers):
        if number not in used and number not in {entry.buffer for entry in model.metadata or ()}:
            buffer.data = None
    return tflite_file.write(model)


def _round(model: Any, graph: Any, operator: Any, number: int, values: np.ndarray) -> None:
    """Put a constant in int8, (units, features), before a tensor of weights."""
    tensor = graph.tensors[number]
    scale = np.maximum(np.abs(values).max(axis=1), np.finfo(np.float32).tiny).astype(np.float32) / 127
    coding = schema.QuantizationParametersT()
    coding.scale, coding.zeroPoint, coding.quantizedDimension = scale, np.zeros(len(scale), np.int64), 0
    rounded = np.round(values / scale[:, None]).astype(np.int8)
    constant = _constant(model, graph, tensor.name + b"/int8", rounded, schema.TensorType.INT8, coding)
    tensor.buffer = 0
    unpacked = _operator(model, "DEQUANTIZE", "Dequantize", [constant], number)
    graph.operators.insert(graph.operators.index(operator), unpacked)


def finished(content: bytes) -> bytes:
    """Return a file as it ships, whatever its numbers are; itself where it has no LSTM: see `without_bound`,
    `_give_at_own_scale`, `_hand_on_at_one_scale` and `_forget`."""
    if not is_in(content):
        return content
    model = tflite_file.read(content)
    for graph, operator in list(operators(model)):
        operator.builtinOptions.cellClip = 0.0
        _give_at_own_scale(model, graph, operator)
        _forget(model, graph, operator)
    for graph in model.subgraphs:
        _hand_on_at_one_scale(model, graph)
    return tflite_file.write(model)


def operators(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every LSTM operator with the graph that it stands in."""
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            if tflite_file.operator_name(model, operator) == KIND:
                yield graph, operator


def _real(graph: Any, operator: Any) -> set[int]:
    """Return the inputs of an operator that are computed real numbers."""
    return {int(number) for number in operator.inputs if number >= 0
            and graph.tensors[number].type == schema.TensorType.FLOAT32 and graph.tensors[number].buffer >= 0
            and graph.tensors[number].quantization is not None and graph.tensors[number].quantization.min is not None}


def _set_range(tensor: Any, most: float) -> None:
    if tensor.quantization is None:
        tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.min, tensor.quantization.max = [-most], [most]


def _largest(tensor: Any) -> float:
    """Return how far a tensor's values reached; 0 where that is not known."""
    noted = tensor.quantization
    if noted is None or noted.min is None or len(noted.min) == 0:
        return 0.0
    return max(abs(float(noted.min[0])), abs(float(noted.max[0])))


def _give_at_own_scale(model: Any, graph: Any, operator: Any) -> None:
    """Let an integer LSTM give numbers at the scale of those that it remembers, as its kernel does whatever its output
    is said to be, and say them anew at the other scale behind it."""
    output, hidden = int(operator.outputs[0]), graph.tensors[int(operator.inputs[HIDDEN])]
    if hidden.type != schema.TensorType.INT8 or _coding(graph.tensors[output]) == _coding(hidden):
        return
    own = _recoded(graph, output, hidden)
    operator.outputs = [own]
    again = _operator(model, "QUANTIZE", "Quantize", [own], output)
    graph.operators.insert(graph.operators.index(operator) + 1, again)


def _hand_on_at_one_scale(model: Any, graph: Any) -> None:
    """Say numbers anew before operators that hand them on at another scale than they have: the converter gives such
    an operator the scale of what comes behind, where what comes before has one of its own."""
    for operator in list(graph.operators):
        if tflite_file.operator_name(model, operator) not in HANDS_ON:
            continue
        output = graph.tensors[int(operator.outputs[0])]
        if output.type != schema.TensorType.INT8:
            continue
        for position, number in enumerate(map(int, operator.inputs)):
            given = graph.tensors[number]
            if given.type != output.type or tflite_file.is_constant(model, given) or _coding(given) == _coding(output):
                continue
            own = _recoded(graph, number, output)
            operator.inputs = [own if one == position else int(old) for one, old in enumerate(operator.inputs)]
            again = _operator(model, "QUANTIZE", "Quantize", [number], own)
            graph.operators.insert(graph.operators.index(operator), again)


def _recoded(graph: Any, number: int, like: Any) -> int:
    """Add a tensor like another, at the scale of a third, and return its number."""
    own = copy.copy(graph.tensors[number])
    own.name, own.buffer, own.quantization = own.name + b"/own", 0, copy.copy(like.quantization)
    graph.tensors.append(own)
    return len(graph.tensors) - 1


def _forget(model: Any, graph: Any, operator: Any) -> None:
    """Write zeros into what an LSTM remembers, before it: a file then answers the same whatever it was asked before.

    A SPLIT_V of one part writes them, since neither LiteRT nor TensorFlow Lite Micro computes that beforehand.
    """
    writers = {int(output): one for one in graph.operators for output in one.outputs}
    for index in (HIDDEN, CELL):
        state = int(operator.inputs[index])
        if (writer := writers.get(state)) is not None:
            if tflite_file.operator_name(model, writer) == "SPLIT_V":  # it forgets already
                continue
            graph.operators.remove(writer)  # unpacks zeros from float16, once for all calls
        tensor = graph.tensors[state]
        name = (tensor.name or b"") + b"/zeros"
        coding = tensor.quantization
        has_zero = coding is not None and coding.zeroPoint is not None and len(coding.zeroPoint) > 0
        zero = int(coding.zeroPoint[0]) if has_zero else 0
        values = np.full(tflite_file.shape(tensor), zero, tflite_file.dtypes()[tensor.type])
        zeros = _constant(model, graph, name, values, tensor.type, coding)
        units = _constant(model, graph, name + b"/units", np.array([values.shape[1]], np.int32))
        axis = _constant(model, graph, name + b"/axis", np.array(1, np.int32))
        split = _operator(model, "SPLIT_V", "SplitV", [zeros, units, axis], state)
        split.builtinOptions.numSplits = 1
        graph.operators.insert(graph.operators.index(operator), split)


def _coding(tensor: Any) -> tuple[Any, ...]:
    coding = tensor.quantization
    return (tuple(map(float, coding.scale)), tuple(map(int, coding.zeroPoint)))


def _constant(model: Any, graph: Any, name: bytes, values: np.ndarray, kind: int | None = None,
              coding: Any = None) -> int:
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.name, tensor.shape, tensor.hasRank = name, list(values.shape), True
    tensor.type = schema.TensorType.INT32 if kind is None else kind
    tensor.buffer, tensor.quantization = len(model.buffers) - 1, copy.copy(coding)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(model: Any, kind: str, options: str, inputs: list[int], output: int) -> Any:
    """Return an operator of integers, see `edit.operator_of`."""
    operator = operator_of(model, kind, options, inputs, output)
    code = model.operatorCodes[operator.opcodeIndex]
    code.version = max(code.version, 2)
    return operator
