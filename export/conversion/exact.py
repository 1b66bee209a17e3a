"""Layers and signatures whose weights stay as they were trained, in a file whose other weights have fewer bits."""
from __future__ import annotations

from collections.abc import Collection
from typing import Any

from etils import epy

from export.conversion import front
from export.tflite import file as tflite_file
from export.tflite import joined
from export.tflite.trace import Trace, pairs

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema


def with_exact(content: bytes, reference: bytes, layers: Collection[str]) -> bytes:
    """Return a file in which some layers, and all that comes before them, have the float32 weights of another.

    What stands behind sound is a logarithm of a power: weights of 16 bits change it by up to 0.1, of 8 bits by more
    than it is worth.

    Args:
        content: a TFLite file in which these layers compute in float32.
        reference: the float32 file of the same model.
        layers: their names.

    Raises:
        ValueError: the files are not of one model.
    """
    known, changed = Trace(reference), Trace(content)
    chosen = set(front.named(known, layers))
    matched = [(one, other) for one, other in pairs(known, changed) if one.number in chosen]
    if len(matched) < len(chosen):
        raise ValueError(f"{', '.join(layers)}: of {len(chosen)} operators that stay float {len(matched)} are found")
    model = changed.model
    graph = model.subgraphs[0]
    operators = [operator for _, operator in tflite_file.own_operators(model)]
    for one, other in matched:
        inputs = list(other.inputs)
        for position, number in enumerate(one.inputs):
            values = tflite_file.constant(known.model, known.tensors[number]) if number >= 0 else None
            if values is not None and values.dtype == np.float32:
                inputs[position] = _added(model, graph, known.tensors[number], values)
        operators[other.number].inputs = inputs
    _without_what_is_unused(model, graph)
    return tflite_file.slim(tflite_file.write(model))


def with_exact_signatures(content: bytes, reference: bytes, names: Collection[str]) -> bytes:
    """Return a file some of whose signatures are those of another, with its float32 weights.

    Numbers by which something is drawn are such: a code that falls the other way changes all that follow.

    Args:
        content: a TFLite file.
        reference: the float32 file of the same model.
        names: of the signatures; both files have them.
    """
    model, other = tflite_file.read(content), tflite_file.read(reference)
    codes = joined.operator_codes(model, other)
    for name in names:
        old, new = (next(one for one in file.signatureDefs if one.signatureKey.decode() == name)
                    for file in (model, other))
        graph = other.subgraphs[new.subgraphIndex]
        graph.name = model.subgraphs[old.subgraphIndex].name
        for tensor in graph.tensors:
            tensor.buffer = joined.moved_buffer(model, other, tensor)
        for operator in graph.operators:
            operator.opcodeIndex = codes[operator.opcodeIndex]
        model.subgraphs[old.subgraphIndex] = graph
        old.inputs, old.outputs = new.inputs, new.outputs
    _without_what_is_unused(model, model.subgraphs[0])
    tflite_file.drop_unused_codes(model)
    return tflite_file.slim(tflite_file.write(model))


def _added(model: Any, graph: Any, like: Any, values: np.ndarray) -> int:
    """Add a constant to a graph; return its number."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), "uint8")
    model.buffers.append(buffer)
    tensor.name, tensor.shape, tensor.type = like.name + b"/exact", like.shape, schema.TensorType.FLOAT32
    tensor.buffer, tensor.isVariable, tensor.hasRank = len(model.buffers) - 1, False, True
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _without_what_is_unused(model: Any, graph: Any) -> None:
    """Take out what only recodes for nobody, and the numbers of constants that nobody takes."""
    taken = {int(index) for operator in graph.operators for index in operator.inputs} | set(map(int, graph.outputs))
    graph.operators = [operator for operator in graph.operators
                       if tflite_file.operator_name(model, operator) not in tflite_file.RECODING
                       or set(map(int, operator.outputs)) & taken]
    taken = {int(index) for operator in graph.operators for index in operator.inputs}
    used = {graph.tensors[index].buffer for index in taken if index >= 0}
    used |= {tensor.buffer for other in model.subgraphs[1:] for tensor in other.tensors}
    used |= {one.buffer for one in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
