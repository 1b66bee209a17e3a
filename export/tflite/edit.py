"""TFLite files changed by hand: their inputs, their outputs, and what the signatures call them."""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

from export.signature import DEFAULT
from export.tflite import file as tflite_file
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

#: What an image classifier's input and output are called.
INPUT, OUTPUT = b"image", b"logits"


def point_signatures(model: Any, old: int, new: int, subgraph: int = 0) -> None:
    """Make the signatures of a graph begin or end at another of its tensors, in place.

    Args:
        model: see `export.tflite.file.read`.
        old, new: numbers of tensors.
    """
    for signature in model.signatureDefs or []:
        for mapped in (*signature.inputs, *signature.outputs):
            if signature.subgraphIndex == subgraph and mapped.tensorIndex == old:
                mapped.tensorIndex = new


def normalized(content: bytes, scale: float, offset: float) -> bytes:
    """Return a float32 image classifier made elsewhere as this project's are: it takes `image`, raw pixels, and gives
    `logits`. Pixels are scaled at its input, a softmax at its output is taken off, and its signature has these names.

    Args:
        scale, offset: what raw pixels are multiplied with, and what is added then.

    Raises:
        ValueError: it is not a file of one image and one output.
    """
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    taken, given = (0 if ends is None else len(ends) for ends in (graph.inputs, graph.outputs))
    if (taken, given) != (1, 1):
        raise ValueError(f"the .tflite file has {taken} inputs and {given} outputs; it must have one of each")
    image = graph.tensors[graph.inputs[0]]
    shape = tflite_file.shape(image)
    if len(shape) != 4 or shape[0] != 1 or shape[-1] not in (1, 3):
        raise ValueError(f"the .tflite file takes {shape}; it must be one image, (1, height, "
                         "width, 1 or 3 channels)")
    _drop_activation(model)
    if (scale, offset) != (1.0, 0.0) and image.type == schema.TensorType.FLOAT32:
        _scale_input(model, scale, offset)
    _name_signature(model)
    return tflite_file.write(model)


def with_unsigned_images(content: bytes) -> bytes:
    """Return the same model, its images uint8 where they were int8: raw pixels go in as they are."""
    model = tflite_file.read(content)
    changed = False
    for signature in signatures.of(content).values():
        for info in signature.inputs.values():
            if info.dtype == "int8" and info.described().role == "image":
                _take_unsigned(model, signature.subgraph, info.index)
                changed = True
    return tflite_file.write(model) if changed else content


def renamed(content: bytes, name: Callable[[str], str]) -> bytes:
    """Return the same model, called by its main signature alone, whose inputs and outputs have other names.

    Args:
        name: from what an input or output is called, by the signature or else by its tensor, to its new name.

    Raises:
        ValueError: the main signature is not that of the file's first graph.
    """
    main = signatures.main(content)
    model = tflite_file.read(content)
    if main.subgraph != 0:
        raise ValueError(f"its signature {main.name} is not that of the file's first graph")
    own = schema.SignatureDefT()
    own.signatureKey, own.subgraphIndex = DEFAULT.encode(), 0
    own.inputs = [mapped(name(one).encode(), info.index) for one, info in main.inputs.items()]
    own.outputs = [mapped(name(one).encode(), info.index) for one, info in main.outputs.items()]
    model.signatureDefs = [own]
    return tflite_file.write(model)


def _drop_activation(model: Any) -> None:
    """Take off the softmax or sigmoid that the main graph ends with, or has before a reshape at its end, if there is
    one; of one number, which tells two classes apart, make the logits of both."""
    graph = model.subgraphs[0]
    made = {int(output): one for one in graph.operators for output in one.outputs}
    output = int(graph.outputs[0])
    last, behind = made.get(output), None
    if last is not None and tflite_file.operator_name(model, last) == "RESHAPE":
        last, behind = made.get(int(last.inputs[0])), last
    if last is not None and tflite_file.operator_name(model, last) in ("SOFTMAX", "LOGISTIC"):
        before = int(last.inputs[0])
        graph.operators.remove(last)
        if behind is None:
            point_signatures(model, output, before)
            graph.outputs = [before]
        else:
            behind.inputs = [before, *behind.inputs[1:]]
        tflite_file.drop_unused_codes(model)
    if tflite_file.shape(graph.tensors[int(graph.outputs[0])]) == (1, 1):
        _give_two_classes(model)


def _give_two_classes(model: Any) -> None:
    """Put the logits of two classes, 0 and the graph's own, behind its output, a float32 number."""
    graph = model.subgraphs[0]
    own = int(graph.outputs[0])
    if graph.tensors[own].type != schema.TensorType.FLOAT32:
        raise ValueError("the .tflite file gives one integer, and two classes are made of a real number; give the "
                         "float32 file")
    factors = constant_of(model, b"two_classes", [[0.0], [1.0]])
    both = tensor_of(model, OUTPUT, [1, 2])
    graph.operators.append(operator_of(model, "FULLY_CONNECTED", "FullyConnected", [own, factors, -1], both))
    point_signatures(model, own, both)
    graph.outputs = [both]


def _scale_input(model: Any, scale: float, offset: float) -> None:
    """Multiply the input of the main graph and add to it, before anything else sees it."""
    graph = model.subgraphs[0]
    inner = int(graph.inputs[0])
    shape = graph.tensors[inner].shape
    raw = tensor_of(model, INPUT, shape)
    scaled = tensor_of(model, b"pixels/scaled", shape)
    factor = constant_of(model, b"pixels/scale", scale)
    term = constant_of(model, b"pixels/offset", offset)
    graph.operators = [operator_of(model, "MUL", "Mul", [raw, factor], scaled),
                       operator_of(model, "ADD", "Add", [scaled, term], inner), *graph.operators]
    point_signatures(model, inner, raw)
    graph.inputs = [raw]


def _name_signature(model: Any) -> None:
    """Give the main graph the signature of an image classifier, under the name that its signature has."""
    graph = model.subgraphs[0]
    definitions = model.signatureDefs or []
    own = next((definition for definition in definitions if definition.subgraphIndex == 0), None)
    if own is None:
        own = schema.SignatureDefT()
        own.signatureKey, own.subgraphIndex = DEFAULT.encode(), 0
        model.signatureDefs = [own, *definitions]
    own.inputs = [mapped(INPUT, graph.inputs[0])]
    own.outputs = [mapped(OUTPUT, graph.outputs[0])]


def mapped(name: bytes, tensor: int) -> Any:
    """Return the entry of a signature that calls a tensor by a name."""
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, int(tensor)
    return entry


def _take_unsigned(model: Any, subgraph: int, index: int) -> None:
    """Put a uint8 tensor before an int8 one that a graph takes, of the same values: its zero point is 128 higher."""
    graph = model.subgraphs[subgraph]
    signed = graph.tensors[index]
    outer = copy.copy(signed)
    outer.type = schema.TensorType.UINT8
    outer.quantization = copy.copy(signed.quantization)
    outer.quantization.zeroPoint = np.asarray(signed.quantization.zeroPoint) + 128
    signed.name = signed.name + b"/int8"
    graph.tensors.append(outer)
    number = len(graph.tensors) - 1
    graph.operators = [operator_of(model, "QUANTIZE", "Quantize", [number], index), *graph.operators]
    graph.inputs = [number if one == index else one for one in graph.inputs]
    point_signatures(model, index, number, subgraph)


def tensor_of(model: Any, name: bytes, shape: Sequence[int], kind: str = "FLOAT32", buffer: int = 0) -> int:
    """Add a tensor to the main graph and return its number."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, list(shape), getattr(schema.TensorType, kind)
    tensor.buffer, tensor.hasRank = buffer, True
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def constant_of(model: Any, name: bytes, value: Any, dtype: str = "float32") -> int:
    """Add constant numbers to the main graph and return their tensor's number."""
    values = np.asarray(value, dtype)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), "uint8")
    model.buffers.append(buffer)
    return tensor_of(model, name, values.shape, dtype.upper(), len(model.buffers) - 1)


def operator_of(model: Any, kind: str, options: str, inputs: Sequence[int], output: int | Sequence[int]) -> Any:
    """Return an operator with the usual options.

    Args:
        kind: for instance MUL.
        options: how the schema calls the kind in the names of its options, for instance Mul.
        output: the number of its tensor, or of several.
    """
    operator = schema.OperatorT()
    operator.opcodeIndex = tflite_file.operator_code(model, getattr(schema.BuiltinOperator, kind))
    operator.inputs, operator.outputs = list(inputs), [output] if isinstance(output, int) else list(output)
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
    operator.builtinOptions = getattr(schema, f"{options}OptionsT")()
    return operator
