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
#: Constants of fewer numbers are not worth an operator that unpacks them.
SMALLEST_HALVED = 32


def read(content: bytes) -> Any:
    """Return the model in a TFLite file, as objects that can be changed, with the constants that lie behind the
    flatbuffer. Raises ValueError where it is not one."""
    if content[4:8] != b"TFL3":
        raise ValueError("not a TFLite file: it does not begin as one")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        for buffer in model.buffers or []:
            _fetch(buffer, content)
    except Exception as error:  # a damaged flatbuffer fails wherever its offsets lead
        raise ValueError(f"a damaged TFLite file ({type(error).__name__})") from error
    if not model.subgraphs or not model.operatorCodes or model.subgraphs[0].operators is None:
        raise ValueError("a damaged TFLite file (nothing is computed in it)")
    _check(model)
    return model


def _check(model: Any) -> None:
    """Raise ValueError where a model names tensors, buffers or operators that it does not have; tensors without a name
    are called "".
    """
    for graph in model.subgraphs:
        tensors = len(graph.tensors or ())
        for operator in graph.operators or ():
            named = [number for numbers in (operator.inputs, operator.outputs) if numbers is not None
                     for number in numbers]
            if not operator.opcodeIndex < len(model.operatorCodes) or any(not -1 <= one < tensors for one in named):
                raise ValueError("a damaged TFLite file (an operator names what is not there)")
        ends = [one for numbers in (graph.inputs, graph.outputs) if numbers is not None for one in numbers]
        if any(not 0 <= one < tensors for one in ends):
            raise ValueError("a damaged TFLite file (it takes or gives a tensor that is not there)")
        for tensor in graph.tensors or ():
            tensor.name = tensor.name or b""  # some converters leave them out
            if not tensor.buffer < len(model.buffers or ()):
                raise ValueError("a damaged TFLite file (a tensor names a buffer that is not there)")
    for one in model.signatureDefs or ():
        entries = [*(one.inputs or ()), *(one.outputs or ())]
        if one.signatureKey is None or not one.subgraphIndex < len(model.subgraphs) or any(
                entry.name is None or not entry.tensorIndex < len(model.subgraphs[one.subgraphIndex].tensors or ())
                for entry in entries):
            raise ValueError("a damaged TFLite file (a signature names what is not there)")


def _fetch(buffer: Any, content: bytes) -> None:
    """Put into a buffer what the file has of it elsewhere; an offset of 1 stands for what is yet to be placed."""
    if buffer.offset > 1:
        buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0


def write(model: Any) -> bytes:
    """Return the file of a model that `read` gave; lists of numbers that occur several times are written once."""
    builder = _builder()(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_names_of_their_own(content: bytes) -> bytes:
    """Return the same model, each of whose tensors has a name that no other has: loops have several of one name, which
    litert-quantizer does not take."""
    model = read(content)
    taken: collections.Counter[bytes] = collections.Counter()
    repeated = False
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        name = tensor.name or b""
        taken[name] += 1
        if taken[name] > 1:
            tensor.name, repeated = b"%s/%d" % (name, taken[name]), True
    return write(model) if repeated else content


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
    """Return the earliest version of TensorFlow Lite that runs a file, where its converter wrote it; else nothing."""
    model = read(content)
    entry = next((one for one in model.metadata or [] if one.name == b"min_runtime_version"), None)
    if entry is None or model.buffers[entry.buffer].data is None:
        return ""
    return bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode()


def operator_name(model: Any, operator: Any) -> str:
    """Return the name of an operator's kind, for instance CONV_2D."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return code.customCode.decode()
    return _names()[max(code.builtinCode, code.deprecatedBuiltinCode)]


def operators(content: bytes) -> dict[str, int]:
    """Return how often each operator stands in a TFLite file, most frequent first."""
    model = read(content)
    counts = collections.Counter(
        operator_name(model, operator) for subgraph in model.subgraphs for operator in subgraph.operators or [])
    return dict(counts.most_common())


def float_tensors(content: bytes) -> Sequence[str]:
    """Return the names of the tensors that are not integers; those that only tell an operator ranges do not count."""
    model = read(content)
    floats = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64}
    names = []
    for subgraph in model.subgraphs:
        ranges = _ranges_inside(subgraph)
        names += [tensor.name.decode() for number, tensor in enumerate(subgraph.tensors)
                  if tensor.type in floats and number not in ranges]
    return names


def _ranges_inside(subgraph: Any) -> set[int]:
    """Return the tensors of a graph that stand for the results inside its operators, which have ranges and no
    values."""
    return {int(number) for operator in subgraph.operators or () if operator.intermediates is not None
            for number in operator.intermediates}


def is_quantized(content: bytes) -> bool:
    """Return whether a file computes with integers, or keeps weights in them; what it takes and gives may be real.
    Raises ValueError where it is damaged."""
    real = {"float32", "float16", "float64"}
    return any(scales(tensor) and dtype(tensor) not in real for subgraph in read(content).subgraphs
               for tensor in subgraph.tensors)


def float_operators(content: bytes) -> list[str]:
    """Return the kinds of operators that take or give real numbers, in their order, without those that convert
    them."""
    model = read(content)
    real = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16}
    names = (operator_name(model, operator) for subgraph in model.subgraphs for operator in subgraph.operators or []
             if any(subgraph.tensors[index].type in real for index in (*operator.inputs, *operator.outputs)
                    if index >= 0))
    return [name for name in dict.fromkeys(names) if name not in ("QUANTIZE", "DEQUANTIZE")]


def dtypes() -> dict[int, str]:
    """Return TFLite's types of numbers and booleans with NumPy's names of them."""
    kinds = ("float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
             "uint64")
    return {getattr(schema.TensorType, kind.upper()): kind for kind in kinds}


def dtype(tensor: Any) -> str:
    """Return NumPy's name of a tensor's type, `string` for text; TFLite's own where NumPy has none."""
    names = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    return names.get(tensor.type, str(tensor.type))


def shape(tensor: Any) -> tuple[int, ...]:
    """Return a tensor's sizes; 1 where one varies."""
    return () if tensor.shape is None else tuple(map(int, tensor.shape))


def open_shape(tensor: Any) -> tuple[int, ...]:
    """Return a tensor's sizes with -1 where one varies, but for the batch: files are run one example at a time."""
    sizes = shape(tensor)
    return sizes if tensor.shapeSignature is None else (*sizes[:1], *map(int, tensor.shapeSignature[1:]))


def scales(tensor: Any) -> list[float]:
    """Return the scales of a tensor's quantization: none for real numbers, one, or one per channel."""
    quantization = tensor.quantization
    return [] if quantization is None or quantization.scale is None else list(map(float, quantization.scale))


def is_constant(model: Any, tensor: Any) -> bool:
    """Return whether a tensor's values stand in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def constant(model: Any, tensor: Any) -> np.ndarray | None:
    """Return a tensor's constant values as they are written; None where it has none, or sparse ones, or of 4 bits."""
    kinds = dtypes()
    if not is_constant(model, tensor) or tensor.type not in kinds or tensor.sparsity is not None:
        return None
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), kinds[tensor.type]).reshape(shape(tensor))


def real(model: Any, tensor: Any) -> np.ndarray | None:
    """Return a tensor's constant values as real numbers, float32; None where it has none."""
    values = constant(model, tensor)
    if values is None:
        return None
    if not scales(tensor):
        return values.astype("float32")
    scale = np.asarray(tensor.quantization.scale, "float32")
    zero = np.asarray(tensor.quantization.zeroPoint, "float32")
    if len(scale) > 1:
        along = [1] * values.ndim
        along[tensor.quantization.quantizedDimension] = len(scale)
        scale, zero = scale.reshape(along), zero.reshape(along)
    return ((values.astype("float32") - zero) * scale).astype("float32")


def halve_weights(content: bytes) -> bytes:
    """Return the same model with its float32 weights as float16, each behind a DEQUANTIZE, as the converter does it.

    Small constants, of fewer than 32 numbers, stay as they are.
    """
    model = read(content)
    code = operator_code(model, schema.BuiltinOperator.DEQUANTIZE)
    for subgraph in model.subgraphs:
        added = []
        for index, tensor in enumerate(list(subgraph.tensors)):
            values = constant(model, tensor) if tensor.type == schema.TensorType.FLOAT32 else None
            if values is not None and values.size >= SMALLEST_HALVED:
                added.append(_halved(model, subgraph, index, values, code))
        subgraph.operators = [*added, *subgraph.operators]
    used = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
    return write(model)


def _halved(model: Any, subgraph: Any, index: int, values: np.ndarray, code: int) -> Any:
    """Return the operator that makes a tensor out of a float16 constant, which is added."""
    tensor, buffer, half, operator = subgraph.tensors[index], schema.BufferT(), schema.TensorT(), schema.OperatorT()
    buffer.data = np.frombuffer(values.astype("float16").tobytes(), "uint8")
    model.buffers.append(buffer)
    half.name, half.shape, half.type = tensor.name + b"/float16", tensor.shape, schema.TensorType.FLOAT16
    half.buffer, half.isVariable, half.hasRank = len(model.buffers) - 1, False, True
    subgraph.tensors.append(half)
    tensor.buffer = 0
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [len(subgraph.tensors) - 1], [index]
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    return operator


def slim(content: bytes) -> bytes:
    """Return the same model in fewer bytes.

    The converter names a tensor after everything that was fused into it; here its name is the layer's. And it writes
    the same zero points again and again, which `write` does not.
    """
    model = read(content)
    for subgraph in model.subgraphs:
        kept = {*map(int, subgraph.inputs), *map(int, subgraph.outputs)}
        taken: set[str] = set()
        for index, tensor in enumerate(subgraph.tensors):
            if index not in kept:
                tensor.name = _free_name(layer_name(tensor.name.decode()), taken).encode()
    return write(model)


def layer_name(name: str) -> str:
    """Return the layer that a converter's tensor came from: what computes, not what was fused into it."""
    paths = [part.strip("/").split("/") for part in name.split(";") if part.strip("/")]
    for path in paths:
        if path[-1].rstrip("0123456789") in ("convolution", "depthwise", "MatMul") and len(path) > 1:
            return path[-2]
    path = paths[0] if paths else [name]
    return path[-2] if len(path) > 1 else path[0]


def _free_name(name: str, taken: set[str]) -> str:
    """Return a name that no other tensor has: with a number behind it where there are several."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}:{number}"
    taken.add(free)
    return free


def operator_code(model: Any, builtin: int) -> int:
    """Return the number of an operator's kind in the file's list, added where it is not there yet."""
    for number, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return number
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
    code.version = 3 if builtin == schema.BuiltinOperator.DEQUANTIZE else 1  # 3 takes float16
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def drop_unused_codes(model: Any) -> None:
    """Remove the kinds that no operator is of any more from the file's list, in place."""
    operators = [operator for subgraph in model.subgraphs for operator in subgraph.operators]
    used = sorted({operator.opcodeIndex for operator in operators})
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[number] for number in used]


def _names() -> dict[int, str]:
    return {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


def own_operators(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and operator of what the main graph computes, in its order; what only recodes is left out."""
    for operator in model.subgraphs[0].operators or []:
        name = operator_name(model, operator)
        if name not in RECODING:
            yield name, operator
