"""One output of a detector that holds boxes and scores, as an output for each of them.

Integers of one tensor share one scale: a step of boxes in pixels leaves nothing of scores up to 1. What stands before
the tensors are joined has a scale of its own.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

from export.tflite import file as tflite_file
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

#: Numbers of a box.
SIDES = 4


def separated(content: bytes, classes: int, objectness: bool, names: tuple[str, str]) -> tuple[bytes, bool]:
    """Return a float32 detector with an output of boxes (1, places, 4), and one of scores (1, places, classes).

    Args:
        content: a file whose only output holds, for each place, four sides, how likely there is anything where
            `objectness` says so, and a score for each class: (1, numbers, places) or (1, places, numbers).
        names: of the two outputs.

    Returns:
        The file, and whether boxes and scores were apart somewhere inside: else they are cut apart behind it, and share
        a scale as integers.

    Raises:
        ValueError: the output is of another shape.
    """
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    output = int(graph.outputs[0])
    numbers = [SIDES, *([1] if objectness else []), classes]
    axis = axis_of(tflite_file.shape(graph.tensors[output]), sum(numbers))
    split = _Split(model)
    pieces = split.of(output, axis, numbers)
    if axis == 1:
        pieces = [split.transposed(piece, [0, 2, 1]) for piece in pieces]
    boxes, scores = pieces[0], pieces[-1]
    if objectness:
        scores = split.multiplied(scores, pieces[1])
    graph.operators.extend(split.operators)
    graph.outputs = [boxes, scores]
    main = signatures.main(content)
    definition = next(one for one in model.signatureDefs if one.signatureKey.decode() == main.name)
    definition.outputs = [_mapped(name, number) for name, number in zip(names, graph.outputs, strict=True)]
    model.signatureDefs = [definition]
    _drop_unused(graph)
    tflite_file.drop_unused_codes(model)
    return tflite_file.write(model), not split.cut


def axis_of(shape: Sequence[int], numbers: int) -> int:
    """Return which axis of an output (1, numbers, places) or (1, places, numbers) has a place's numbers. Raises
    ValueError."""
    if len(shape) != 3 or numbers not in shape[1:]:
        raise ValueError(f"the output is {tuple(shape)}; it must be (1, {numbers}, places) or (1, places, {numbers})")
    return 1 if shape[1] == numbers and shape[2] >= shape[1] else 2 if shape[2] == numbers else 1


class _Split:
    """Makes the parts of a tensor along an axis out of what it is joined of, and remembers the operators for that.

    Args:
        model: see `export.tflite.file.read`.
    """

    def __init__(self, model: Any):
        self.model = model
        self.graph = model.subgraphs[0]
        self.made = {int(output): one for one in self.graph.operators for output in one.outputs}
        self.operators: list[Any] = []
        #: Whether a tensor had to be cut that is not joined of anything.
        self.cut = False

    def of(self, tensor: int, axis: int, sizes: Sequence[int]) -> list[int]:
        """Return the numbers of tensors that are the parts of one, of these sizes along an axis."""
        if len(sizes) == 1:
            return [tensor]
        operator: Any = self.made.get(tensor)
        kind = tflite_file.operator_name(self.model, operator) if operator is not None else ""
        if kind == "TRANSPOSE":
            order = self._constant(operator.inputs[1])
            if order is not None:
                return [self.transposed(part, order.tolist())
                        for part in self.of(int(operator.inputs[0]), int(order[axis]), sizes)]
        if kind == "CONCATENATION":
            along = operator.builtinOptions.axis % len(self._shape(tensor))
            inputs = [int(one) for one in operator.inputs]
            if along == axis:
                return self._grouped(inputs, axis, sizes)
            parts = [self.of(one, axis, sizes) for one in inputs]
            return [self.joined(list(part), along) for part in zip(*parts, strict=True)]
        self.cut = True
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        return [self._sliced(tensor, axis, start, size) for start, size in zip(starts, sizes, strict=True)]

    def _grouped(self, inputs: list[int], axis: int, sizes: Sequence[int]) -> list[int]:
        """Return the parts of tensors that are joined along the axis of the parts."""
        parts: list[list[int]] = []
        left = list(inputs)
        for size in sizes:
            part, missing = [], size
            while missing:
                own = self._shape(left[0])[axis]
                if own > missing:
                    left[:1] = self.of(left[0], axis, [missing, own - missing])
                    own = missing
                part.append(left.pop(0))
                missing -= own
            parts.append(part)
        return [self.joined(part, axis) for part in parts]

    def joined(self, tensors: list[int], axis: int) -> int:
        """Return tensors one after the other along an axis."""
        if len(tensors) == 1:
            return tensors[0]
        shape = list(self._shape(tensors[0]))
        shape[axis] = sum(self._shape(one)[axis] for one in tensors)
        operator = self._operator("CONCATENATION", tensors, shape)
        operator.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
        operator.builtinOptions = schema.ConcatenationOptionsT()
        operator.builtinOptions.axis = axis
        return int(operator.outputs[0])

    def transposed(self, tensor: int, order: list[int]) -> int:
        """Return a tensor with its axes in another order."""
        shape = self._shape(tensor)
        operator = self._operator("TRANSPOSE", [tensor, self._integers(order)], [shape[one] for one in order])
        operator.builtinOptionsType = schema.BuiltinOptions.TransposeOptions
        operator.builtinOptions = schema.TransposeOptionsT()
        return int(operator.outputs[0])

    def multiplied(self, tensor: int, factor: int) -> int:
        """Return the product of a tensor and another whose last axis is one number."""
        operator = self._operator("MUL", [tensor, factor], list(self._shape(tensor)))
        operator.builtinOptionsType = schema.BuiltinOptions.MulOptions
        operator.builtinOptions = schema.MulOptionsT()
        return int(operator.outputs[0])

    def _sliced(self, tensor: int, axis: int, start: int, size: int) -> int:
        shape = list(self._shape(tensor))
        begin = [start if one == axis else 0 for one in range(len(shape))]
        shape[axis] = size
        operator = self._operator("SLICE", [tensor, self._integers(begin), self._integers(shape)], shape)
        operator.builtinOptionsType = schema.BuiltinOptions.SliceOptions
        operator.builtinOptions = schema.SliceOptionsT()
        return int(operator.outputs[0])

    def _operator(self, kind: str, inputs: list[int], shape: list[int]) -> Any:
        """Return an operator of a new float32 tensor of a shape."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"heads/{len(self.graph.tensors)}".encode(), np.array(shape, "int32")
        tensor.type, tensor.buffer, tensor.hasRank = schema.TensorType.FLOAT32, 0, True
        self.graph.tensors.append(tensor)
        operator = schema.OperatorT()
        operator.opcodeIndex = tflite_file.operator_code(self.model, getattr(schema.BuiltinOperator, kind))
        operator.inputs, operator.outputs = inputs, [len(self.graph.tensors) - 1]
        self.operators.append(operator)
        return operator

    def _integers(self, values: list[int]) -> int:
        """Return a new constant of whole numbers."""
        array = np.array(values, "int32")
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), "uint8")
        self.model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"heads/{len(self.graph.tensors)}".encode(), np.array(array.shape, "int32")
        tensor.type, tensor.buffer, tensor.hasRank = schema.TensorType.INT32, len(self.model.buffers) - 1, True
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _constant(self, tensor: int) -> np.ndarray | None:
        return tflite_file.constant(self.model, self.graph.tensors[int(tensor)])

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tflite_file.shape(self.graph.tensors[tensor])


def _drop_unused(graph: Any) -> None:
    """Take out operators whose results nobody takes."""
    wanted = {int(one) for one in graph.outputs}
    kept = []
    for operator in reversed(graph.operators):
        if any(int(one) in wanted for one in operator.outputs):
            kept.append(operator)
            wanted |= {int(one) for one in operator.inputs}
    graph.operators = kept[::-1]


def _mapped(name: str, tensor: int) -> Any:
    mapped = schema.TensorMapT()
    mapped.name, mapped.tensorIndex = name.encode(), tensor
    return mapped
