"""TFLite files as their flatbuffer holds them: operators, tensors, constants."""
from __future__ import annotations

import collections
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

#: Operators that only change how numbers are written.
RECODING = ("QUANTIZE", "DEQUANTIZE")


def read(content: bytes) -> Any:
    """The model in a TFLite file, as objects that can be changed. Raises ValueError where the bytes are none."""
    if content[4:8] != b"TFL3":
        raise ValueError("not a TFLite file: it does not begin as one")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
    except Exception as error:  # a damaged flatbuffer fails wherever its offsets lead
        raise ValueError(f"a damaged TFLite file ({type(error).__name__})") from error
    if not model.subgraphs or not model.operatorCodes or model.subgraphs[0].operators is None:
        raise ValueError("a damaged TFLite file (nothing is computed in it)")
    return model


def write(model: Any) -> bytes:
    """The file of a model that `read` gave. Lists of numbers that occur several times, such as zero points, are written once."""
    builder = _builder()(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@functools.cache
def _builder() -> type:
    import flatbuffers

    class Sharing(flatbuffers.Builder):
        def __init__(self, size: int):
            super().__init__(size)
            self.written: dict[tuple[str, bytes], int] = {}

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
            # the format wants constants, which are bytes, at multiples of 16
            return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)

        def CreateNumpyVector(self, x: np.ndarray) -> int:
            if x.dtype == np.uint8:
                return super().CreateNumpyVector(x)
            key = (x.dtype.str, x.tobytes())
            if key not in self.written:
                self.written[key] = super().CreateNumpyVector(x)
            return self.written[key]

    return Sharing


def minimum_runtime(content: bytes) -> str:
    """The earliest version of TensorFlow Lite that runs a file, as its converter wrote it; empty where it did not."""
    model = read(content)
    entry = next((one for one in model.metadata or [] if one.name == b"min_runtime_version"), None)
    data = model.buffers[entry.buffer].data if entry is not None else None
    return bytes(data).rstrip(b"\0").decode() if data is not None else ""


def operator_name(model: Any, operator: Any) -> str:
    """The name of an operator's kind, for instance CONV_2D."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return code.customCode.decode()
    return _names()[max(code.builtinCode, code.deprecatedBuiltinCode)]


def operators(content: bytes) -> dict[str, int]:
    """How often each operator stands in a TFLite file, most frequent first."""
    model = read(content)
    counts = collections.Counter(operator_name(model, operator) for subgraph in model.subgraphs for operator in subgraph.operators or [])
    return dict(counts.most_common())


def float_tensors(content: bytes) -> Sequence[str]:
    """The names of the tensors that are not integers."""
    model = read(content)
    floats = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64}
    return [tensor.name.decode() for subgraph in model.subgraphs for tensor in subgraph.tensors if tensor.type in floats]


def dtypes() -> dict[int, str]:
    """TFLite's types of numbers to NumPy's names of them."""
    return {schema.TensorType.FLOAT32: "float32", schema.TensorType.FLOAT16: "float16", schema.TensorType.INT8: "int8",
            schema.TensorType.INT16: "int16", schema.TensorType.INT32: "int32", schema.TensorType.INT64: "int64",
            schema.TensorType.UINT8: "uint8"}


def constant(model: Any, tensor: Any) -> np.ndarray | None:
    """A tensor's constant values as they are written, or None where it has none. 4-bit and sparse constants are not read."""
    kinds = dtypes()
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type not in kinds or tensor.sparsity is not None:
        return None
    shape = tensor.shape if tensor.shape is not None else ()
    return np.frombuffer(bytes(data), kinds[tensor.type]).reshape(tuple(shape))


def real(model: Any, tensor: Any) -> np.ndarray | None:
    """A tensor's constant values as real numbers, float32; None where it has none."""
    values = constant(model, tensor)
    if values is None or tensor.quantization is None or tensor.quantization.scale is None or not len(tensor.quantization.scale):
        return None if values is None else values.astype("float32")
    along = [1] * values.ndim
    scale, zero = np.asarray(tensor.quantization.scale, "float32"), np.asarray(tensor.quantization.zeroPoint, "float32")
    if len(scale) > 1:
        along[tensor.quantization.quantizedDimension] = len(scale)
        scale, zero = scale.reshape(along), zero.reshape(along)
    return ((values.astype("float32") - zero) * scale).astype("float32")


def halve_weights(content: bytes) -> bytes:
    """The same model with its float32 weights stored as float16, each behind a DEQUANTIZE operator, as the converter writes them.

    Small constants, of fewer than 32 numbers, stay as they are.
    """
    model = read(content)
    dequantize = operator_code(model, schema.BuiltinOperator.DEQUANTIZE)
    for subgraph in model.subgraphs:
        added = []
        for place, tensor in enumerate(list(subgraph.tensors)):
            values = constant(model, tensor) if tensor.type == schema.TensorType.FLOAT32 else None
            if values is None or values.size < 32:
                continue
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype("float16").tobytes(), "uint8")
            model.buffers.append(buffer)
            half = schema.TensorT()
            half.name, half.shape, half.type = tensor.name + b"/float16", tensor.shape, schema.TensorType.FLOAT16
            half.buffer, half.isVariable, half.hasRank = len(model.buffers) - 1, False, True
            subgraph.tensors.append(half)
            tensor.buffer = 0
            operator = schema.OperatorT()
            operator.opcodeIndex, operator.inputs, operator.outputs = dequantize, [len(subgraph.tensors) - 1], [place]
            operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.DequantizeOptions, schema.DequantizeOptionsT()
            added.append(operator)
        subgraph.operators = [*added, *subgraph.operators]
    used = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    for place, buffer in enumerate(model.buffers):
        if place not in used:
            buffer.data = None
    return write(model)


def slim(content: bytes) -> bytes:
    """The same model in fewer bytes.

    The converter names a tensor after everything that was fused into it; here its name is the layer's. And it writes the same zero points
    over and over, which `write` does not.
    """
    model = read(content)
    for subgraph in model.subgraphs:
        ends = {*map(int, subgraph.inputs), *map(int, subgraph.outputs)}
        taken: set[str] = set()
        for place, tensor in enumerate(subgraph.tensors):
            if place not in ends:
                tensor.name = _free_name(layer_name(tensor.name.decode()), taken).encode()
    return write(model)


def layer_name(name: str) -> str:
    """The layer that a tensor of the converter's came from: what computes, not the normalization and activation fused into it."""
    paths = [part.strip("/").split("/") for part in name.split(";") if part.strip("/")]
    for path in paths:
        if path[-1].rstrip("0123456789") in ("convolution", "depthwise", "MatMul") and len(path) > 1:
            return path[-2]
    path = paths[0] if paths else [name]
    return path[-2] if len(path) > 1 else path[0]


def _free_name(name: str, taken: set[str]) -> str:
    """A name that no other tensor has: with a number behind it where there are several."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}:{number}"
    taken.add(free)
    return free


def operator_code(model: Any, builtin: int) -> int:
    """The place of an operator's kind in the file's list, added where it is not there yet."""
    for place, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
    code.version = 3 if builtin == schema.BuiltinOperator.DEQUANTIZE else 1  # 3 takes float16
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def drop_unused_codes(model: Any) -> None:
    """Takes kinds of operators that no operator is of any more off the file's list, in place."""
    operators = [operator for subgraph in model.subgraphs for operator in subgraph.operators]
    used = sorted({operator.opcodeIndex for operator in operators})
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[place] for place in used]


def _names() -> dict[int, str]:
    return {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


def own_operators(model: Any) -> Iterator[tuple[str, Any]]:
    """Name and operator of what the main graph computes, in its order; what only recodes is left out."""
    for operator in model.subgraphs[0].operators or []:
        name = operator_name(model, operator)
        if name not in RECODING:
            yield name, operator
