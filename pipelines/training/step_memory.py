"""The memory of a training step: the optimizer's state, and what is alive beside it, read off the step's traced graph.
Nothing is run, and no weight gets a value."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from etils import epy

from pipelines.training.optimizers import Optimizer

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: Rows and columns of the matrix that an optimizer's state is counted for.
SIDE = 1024
#: Operations whose output is their input's memory under another shape or name.
ALIASES = {"Reshape", "Identity", "IdentityN", "ExpandDims", "Squeeze", "StopGradient", "PreventGradient",
           "EnsureShape"}
#: Operations whose output is counted elsewhere, or takes none: variables, what is fed, and constants.
ELSEWHERE = {"ReadVariableOp", "Placeholder", "Const", "VarHandleOp"}
#: Operations that TensorFlow lets write over an input that nothing else needs.
ELEMENTWISE = {
    "Abs", "Add", "AddN", "AddV2", "BiasAdd", "Cast", "DivNoNan", "Elu", "EluGrad", "Erf", "Erfc", "Exp", "Floor",
    "Log", "Log1p", "LogSoftmax", "Maximum", "Minimum", "Mul", "Neg", "Pow", "RealDiv", "Relu", "Relu6", "Relu6Grad",
    "ReluGrad", "Rsqrt", "RsqrtGrad", "Select", "SelectV2", "Sigmoid", "SigmoidGrad", "Sign", "Softmax",
    "SoftmaxCrossEntropyWithLogits", "Softplus", "Sqrt", "Square", "SquaredDifference", "Sub", "Tanh", "TanhGrad"}
#: TensorFlow's names of what computes gradients begin so.
BACKWARD = "gradient_tape/"


def state_per_weight(optimizer: Optimizer) -> float:
    """Return the bytes that an optimizer keeps for each weight of a large matrix, as Keras makes it: 8 for Adam's two
    moments."""
    built = optimizer.build(0.001)
    few = len(built.variables)  # its counter, and the rate
    built.build([keras.Variable("zeros", shape=(SIDE, SIDE), dtype="float32")])
    return sum(math.prod(one.shape) * tf.as_dtype(one.dtype).size for one in built.variables[few:]) / SIDE**2


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step beside those of its batch, weights and optimizer.

    Args:
        kept: alive when the forward pass is done: what the backward pass reads again.
        peak: the most that is alive at once, gradients among it.
        largest: the largest tensor, and `operation`, what makes it.
    """

    kept: int
    peak: int
    largest: int
    operation: str


def traced(step: Any, batch: Any) -> StepMemory:
    """Return the memory of a training step, operation by operation, as TensorFlow frees tensors: after their last use.

    Loops, as recurrent layers have where they are not fused, count with what goes in and comes out.

    Args:
        step: takes the batch as its only argument.
        batch: a nested structure of arrays or of tf.TensorSpec whose shapes are known.
    """
    specs = tf.nest.map_structure(lambda value: tf.TensorSpec(value.shape, value.dtype), batch)
    return _Liveness(tf.function(step).get_concrete_function(specs).graph).walk()


class _Liveness:
    """Which tensors of a graph are alive, in the order in which its operations were traced."""

    def __init__(self, graph: Any):
        needed = _ancestors([*(tensor.op for tensor in graph.outputs), *graph.control_outputs])
        self.operations = [operation for operation in graph.get_operations() if operation in needed]
        self.roots: dict[Any, Any] = {}
        self.last: dict[Any, int] = {}
        for place, operation in enumerate(self.operations):
            if operation.type in ALIASES:
                self.roots |= {tensor.ref(): self._root(source)
                               for tensor, source in zip(operation.outputs, operation.inputs, strict=False)}
            self.last |= {self._root(tensor): place for tensor in operation.inputs}

    def _root(self, tensor: Any) -> Any:
        """Return the tensor whose memory a tensor is."""
        return self.roots.get(tensor.ref(), tensor.ref())

    def walk(self) -> StepMemory:
        """Return the most that is alive, and what is when the first gradient is computed."""
        alive: dict[Any, int] = {}
        total = peak = kept = largest = 0
        widest = ""
        for place, operation in enumerate(self.operations):
            if not kept and operation.name.startswith(BACKWARD):
                kept = total
            used = {self._root(tensor) for tensor in operation.inputs}
            ending = {root: alive[root] for root in used if root in alive and self.last[root] == place}
            made = _made(operation)
            new = sum(made.values())
            overwritten = new if operation.type in ELEMENTWISE and new in ending.values() else 0
            peak = max(peak, total + new - overwritten)
            alive |= {root: size for root, size in made.items() if self.last.get(root, -1) > place}
            for root in ending:
                del alive[root]
            total += sum(size for root, size in made.items() if root in alive) - sum(ending.values())
            if made and max(made.values()) > largest:
                largest, widest = max(made.values()), f"{operation.name} ({operation.type})"
        return StepMemory(kept, peak, largest, widest)


def _ancestors(operations: Iterable[Any]) -> set[Any]:
    """Return operations and all that they depend on."""
    waiting, seen = list(operations), set()
    while waiting:
        operation = waiting.pop()
        if operation not in seen:
            seen.add(operation)
            waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return seen


def _made(operation: Any) -> dict[Any, int]:
    """Return the bytes of the tensors that an operation makes; of those whose shape is not known, 0."""
    if operation.type in ALIASES | ELSEWHERE:
        return {}
    return {tensor.ref(): math.prod(tensor.shape) * tensor.dtype.size for tensor in operation.outputs
            if tensor.shape.is_fully_defined()}
