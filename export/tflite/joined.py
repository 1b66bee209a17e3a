"""One TFLite file behind another: what the first gives the second takes."""
from __future__ import annotations

import copy
from typing import Any

from etils import epy

from export.tflite import file as tflite_file
from export.tflite import signatures

with epy.lazy_imports():
    from ai_edge_litert import schema_py_generated as schema


def joined(first: bytes, second: bytes) -> bytes:
    """Return a file that takes what the first takes, and gives what the second does.

    Integers that the first gives become real numbers on the way. Files keep one graph, and one signature, that of the
    first with the second's outputs.

    Args:
        first: a TFLite file, of any numbers.
        second: a float32 file of one graph, whose inputs have the names and shapes of the first's outputs.

    Raises:
        ValueError: an input of the second is no output of the first, or of another shape.
    """
    giving, taking = signatures.main(first), signatures.main(second)
    model, other = tflite_file.read(first), tflite_file.read(second)
    graph, behind = model.subgraphs[giving.subgraph], other.subgraphs[taking.subgraph]
    placed: dict[int, int] = {}
    for name, info in taking.inputs.items():
        given = giving.outputs.get(name)
        if given is None or given.shape != info.shape:
            raise ValueError(f"{name} of {info.shape} is to come of the first file, which gives "
                             + ", ".join(f"{one} of {known.shape}" for one, known in giving.outputs.items()))
        placed[info.index] = given.index if not given.scale else _real(model, graph, given.index)
    codes = operator_codes(model, other)
    for number, tensor in enumerate(behind.tensors):
        if number in placed:
            continue
        moved = copy.copy(tensor)
        moved.name = b"behind/" + tensor.name
        moved.buffer = moved_buffer(model, other, tensor)
        graph.tensors.append(moved)
        placed[number] = len(graph.tensors) - 1
    for operator in behind.operators:
        moved = copy.copy(operator)
        moved.opcodeIndex = codes[operator.opcodeIndex]
        moved.inputs = [placed[int(one)] if one >= 0 else -1 for one in operator.inputs]
        moved.outputs = [placed[int(one)] for one in operator.outputs]
        graph.operators.append(moved)
    # in the order of their names: who reads a file without its signature goes by that
    graph.outputs = [placed[info.index] for _, info in sorted(taking.outputs.items())]
    signature = next(one for one in model.signatureDefs if one.signatureKey.decode() == giving.name)
    signature.outputs = [_mapped(name, placed[info.index]) for name, info in taking.outputs.items()]
    model.signatureDefs = [signature]
    return tflite_file.write(model)


def operator_codes(model: Any, other: Any) -> list[int]:
    """Return the numbers in a file's list of the kinds of operators that another lists, which are added where they are
    missing."""
    return [_code(model, code) for code in other.operatorCodes]


def moved_buffer(model: Any, other: Any, tensor: Any) -> int:
    """Return the number in a file of what another file's tensor holds: 0 where it is no constant."""
    if not tflite_file.is_constant(other, tensor):
        return 0
    model.buffers.append(other.buffers[tensor.buffer])
    return len(model.buffers) - 1


def _real(model: Any, graph: Any, index: int) -> int:
    """Put the real numbers that integers stand for behind a tensor; return their tensor."""
    outer = copy.copy(graph.tensors[index])
    outer.name, outer.type, outer.buffer, outer.quantization = (
        graph.tensors[index].name + b"/real", schema.TensorType.FLOAT32, 0, None)
    graph.tensors.append(outer)
    operator = schema.OperatorT()
    operator.opcodeIndex = tflite_file.operator_code(model, schema.BuiltinOperator.DEQUANTIZE)
    operator.inputs, operator.outputs = [index], [len(graph.tensors) - 1]
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    graph.operators.append(operator)
    return len(graph.tensors) - 1


def _code(model: Any, code: Any) -> int:
    """Return the number of a kind of operator in the file's list, added where it is not there yet."""
    def kind(one: Any) -> tuple[int, Any, int]:
        return max(one.builtinCode, one.deprecatedBuiltinCode), one.customCode, one.version

    known = [kind(one) for one in model.operatorCodes]
    if kind(code) not in known:
        model.operatorCodes.append(code)
        return len(model.operatorCodes) - 1
    return known.index(kind(code))


def _mapped(name: str, index: int) -> Any:
    mapped = schema.TensorMapT()
    mapped.name, mapped.tensorIndex = name.encode(), index
    return mapped
