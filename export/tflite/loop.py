"""A file that is asked one step of a sequence at a time, put into a loop over whole sequences: integers too, of which
TensorFlow's converter makes no loop."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from etils import epy

from export.predictors.streamed import EVERY_STEP, STATE
from export.signature import DEFAULT
from export.tflite import file as tflite_file
from export.tflite import signatures
from export.tflite.edit import operator_of

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema


def with_one_coding(content: bytes) -> bytes:
    """Return a streaming file that gives what it remembers as it takes it: said anew where the scales differ, as those
    of a tanh's output do, which is not to be chosen."""
    model, file = tflite_file.read(content), signatures.main(content)
    graph = model.subgraphs[0]
    for name in (name for name in file.inputs if name.startswith(STATE)):
        taken, given = file.inputs[name], file.outputs[name]
        if taken.dtype != given.dtype or (taken.scale, taken.zero) == (given.scale, given.zero):
            continue
        other = _add(graph, _like(graph.tensors[taken.index], name.encode() + b"/given", given.shape))
        graph.operators.append(operator_of(model, "QUANTIZE", "Quantize", [given.index], other))
        is_an_answer = sum(info.index == given.index for info in file.outputs.values()) > 1
        outputs = [int(number) for number in graph.outputs]
        graph.outputs = [*outputs, other] if is_an_answer else [
            other if number == given.index else number for number in outputs]
        for signature in model.signatureDefs:
            for mapped in signature.outputs:
                if mapped.name.decode() == name:
                    mapped.tensorIndex = other
    return tflite_file.write(model)


def looped(content: bytes, steps: int) -> bytes:
    """Return a file that takes a whole sequence and gives what asking `content` step by step would.

    Args:
        content: a streaming file of one step a call, see `export.conversion.streaming`; what it remembers has one
            coding, going in and out, see `with_one_coding`.
        steps: of a sequence.

    Raises:
        ValueError: it is asked several steps at a time, or hands on numbers in two codings.
    """
    model, file = tflite_file.read(content), signatures.main(content)
    body = model.subgraphs[0]
    (taken,) = (name for name in file.inputs if not name.startswith(STATE))
    states = [name for name in file.inputs if name.startswith(STATE)]
    answers = [name for name in file.outputs if not name.startswith(STATE)]
    if file.inputs[taken].shape[1] != 1:
        raise ValueError(f"the file is asked {file.inputs[taken].shape[1]} steps at a time; a loop asks one")
    for name in states:
        one, other = file.inputs[name], file.outputs[name]
        if (one.dtype, one.scale, one.zero) != (other.dtype, other.scale, other.zero):
            raise ValueError(f"the file hands on {name} in two codings")
    every = file.name == EVERY_STEP
    main, condition = _empty(b"main"), _empty(b"before_the_end")
    model.subgraphs = [main, body, condition]

    # what goes round: the step's number, the sequence, what is remembered, the answers
    shape = _with_steps(file.inputs[taken].shape, steps)
    whole = _like(body.tensors[file.inputs[taken].index], b"sequence", shape)
    kinds = [_integers(b"step", (1,)), whole, *(body.tensors[file.inputs[name].index] for name in states)]
    for name in answers:
        answer = body.tensors[file.outputs[name].index]
        shape = _with_steps(file.outputs[name].shape, steps) if every else file.outputs[name].shape
        kinds.append(_like(answer, name.encode(), shape=shape))

    number, sequence = _add(body, kinds[0]), _add(body, kinds[1])
    kept = [_add(body, kinds[2 + len(states) + position]) for position in range(len(answers))]
    one = operator_of(model, "GATHER", "Gather", [sequence, number], file.inputs[taken].index)
    one.builtinOptions.axis = 1
    after = _add(body, kinds[0])
    count = operator_of(model, "ADD", "Add", [number, _constant(model, body, np.ones(1, np.int32))], after)
    written = [file.outputs[name].index for name in answers]
    put: list[Any] = []
    if every:
        for position, name in enumerate(answers):
            start = _start(model, body, number, len(file.outputs[name].shape), put)
            update = _add(body, kinds[2 + len(states) + position])
            put.append(operator_of(model, "DYNAMIC_UPDATE_SLICE", "DynamicUpdateSlice",
                                 [kept[position], written[position], start], update))
            written[position] = update
    body.operators = [one, *body.operators, count, *put]
    body.name = b"step"
    body.inputs = [number, sequence, *(file.inputs[name].index for name in states), *kept]
    body.outputs = [after, sequence, *(file.outputs[name].index for name in states), *written]

    rounds = [_add(condition, kind) for kind in kinds]
    ends = _add(condition, _tensor(b"goes_on", (1,), schema.TensorType.BOOL))
    condition.inputs, condition.outputs = rounds, [ends]
    condition.operators = [operator_of(model, "LESS", "Less", [
        rounds[0], _constant(model, condition, np.full(1, steps, np.int32))], ends)]

    asked = _add(main, kinds[1])
    begin = [_constant(model, main, np.zeros(1, np.int32)), asked]
    begin += [_constant(model, main, *_nothing(kind)) for kind in kinds[2:]]
    given = [_add(main, kind) for kind in kinds]
    goes = operator_of(model, "WHILE", "While", begin, given)
    goes.builtinOptions.bodySubgraphIndex, goes.builtinOptions.condSubgraphIndex = 1, 2
    main.operators, main.inputs, main.outputs = [goes], [asked], given[len(given) - len(answers):]
    model.signatureDefs = [_signature(taken, asked, answers, main.outputs)]
    return tflite_file.write(model)


def _with_steps(shape: Sequence[int], steps: int) -> tuple[int, ...]:
    return (shape[0], steps, *shape[2:])


def _empty(name: bytes) -> Any:
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators = name, [], []
    return graph


def _tensor(name: bytes, shape: Sequence[int], kind: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.hasRank = name, list(shape), kind, True
    return tensor


def _integers(name: bytes, shape: Sequence[int]) -> Any:
    return _tensor(name, shape, schema.TensorType.INT32)


def _like(tensor: Any, name: bytes, shape: Sequence[int]) -> Any:
    other = copy.copy(tensor)
    other.name, other.shape, other.shapeSignature, other.buffer = name, list(shape), None, 0
    return other


def _add(graph: Any, tensor: Any) -> int:
    """Add a tensor that is computed to a graph, and return its number."""
    own = copy.copy(tensor)
    own.buffer = 0
    graph.tensors.append(own)
    return len(graph.tensors) - 1


def _constant(model: Any, graph: Any, values: np.ndarray, like: Any = None) -> int:
    tensor = _integers(b"constant", values.shape) if like is None else _like(like, like.name + b"/begin", values.shape)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _nothing(tensor: Any) -> tuple[np.ndarray, Any]:
    """Return the zeros that a tensor begins with, as they are written, and the tensor."""
    coding = tensor.quantization
    has_zero = coding is not None and coding.zeroPoint is not None and len(coding.zeroPoint) > 0
    zero = int(coding.zeroPoint[0]) if has_zero else 0
    return np.full(tflite_file.shape(tensor), zero, tflite_file.dtypes()[tensor.type]), tensor


def _start(model: Any, graph: Any, number: int, axes: int, operators: list[Any]) -> int:
    """Add the position that a step's answer is written at, (0, step, 0, …), to a graph."""
    zero = _constant(model, graph, np.zeros(1, np.int32))
    start = _add(graph, _integers(b"start", (axes,)))
    joined = operator_of(model, "CONCATENATION", "Concatenation", [zero, number, *[zero] * (axes - 2)], start)
    operators.append(joined)
    return start


def _signature(taken: str, asked: int, answers: Sequence[str], given: Sequence[int]) -> Any:
    own = schema.SignatureDefT()
    own.signatureKey, own.subgraphIndex = DEFAULT.encode(), 0
    own.inputs = [_mapped(taken, asked)]
    own.outputs = [_mapped(name, number) for name, number in zip(answers, given, strict=True)]
    return own


def _mapped(name: str, number: int) -> Any:
    mapped = schema.TensorMapT()
    mapped.name, mapped.tensorIndex = name.encode(), int(number)
    return mapped
