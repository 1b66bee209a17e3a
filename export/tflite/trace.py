"""What every operator of a TFLite file gives, not only the last."""
from __future__ import annotations

import dataclasses
import difflib
import functools
from typing import Any

from etils import epy

from export.errors import first_line
from export.signature import Arrays
from export.tflite import file as tflite_file
from export.tflite import quantization, signatures

with epy.lazy_imports():
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Step:
    """An operator of the main graph.

    Args:
        number: its position among those that compute, counted from 0; what only recodes has none.
        operator: its kind, for instance CONV_2D.
        inputs, outputs: the numbers of its tensors in the file.
        shape: of its first output.
        name: of its first output's tensor.
    """

    number: int
    operator: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shape: tuple[int, ...]
    name: str

    @property
    def output(self) -> int:
        return self.outputs[0]


class Trace:
    """A TFLite file that is run with every intermediate value kept.

    Args:
        content: the file; its first graph is run.

    Raises:
        ValueError: the bytes are not a TFLite file that LiteRT can run.
    """

    def __init__(self, content: bytes):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.model = tflite_file.read(content)
        self.tensors = self.model.subgraphs[0].tensors
        self.steps = [self._step(number, kind, operator)
                      for number, (kind, operator) in enumerate(tflite_file.own_operators(self.model))]
        self.file = signatures.of_main_graph(content)
        self.signature = self.file.signature()
        try:
            # delegates fuse operators and keep no intermediate values
            self._interpreter = Interpreter(
                model_content=content,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"not a TFLite model that LiteRT can run: {first_line(error)}") from error
        details = self._interpreter.get_tensor_details()
        self._quantization = {detail["index"]: detail["quantization"] for detail in details}

    def run(self, inputs: Arrays) -> None:
        """Run one example: inputs by name, each a batch of one. Raises ValueError where they do not fit the file."""
        fitted = self.signature.fit(inputs)
        for name, info in self.file.inputs.items():
            self._interpreter.set_tensor(info.index, info.to_tensor(fitted[name]))
        self._interpreter.invoke()

    def stored(self, tensor: int) -> np.ndarray:
        """Return what a tensor holds after the last run, as it is written."""
        return self._interpreter.get_tensor(tensor)

    def real(self, tensor: int) -> np.ndarray:
        """Return what a tensor stands for after the last run, as real numbers."""
        return np.asarray(quantization.to_real(self.stored(tensor), *self._quantization[tensor]), np.float32)

    def scale(self, tensor: int) -> float:
        """Return the step between two neighbouring values of a tensor; 0 where it is not quantized."""
        return float(self._quantization[tensor][0])

    def is_quantized(self, tensor: int) -> bool:
        """Return whether a tensor's numbers stand for others."""
        return self.scale(tensor) > 0

    def source(self, tensor: int) -> int:
        """Return the tensor that a value was before it was only recoded."""
        while tensor in self._recoded:
            tensor = self._recoded[tensor]
        return tensor

    @functools.cached_property
    def _recoded(self) -> dict[int, int]:
        return {int(operator.outputs[0]): int(operator.inputs[0]) for operator in self.model.subgraphs[0].operators
                if tflite_file.operator_name(self.model, operator) in tflite_file.RECODING}

    def _step(self, number: int, kind: str, operator: Any) -> Step:
        inputs = tuple(map(int, operator.inputs))
        outputs = tuple(map(int, operator.outputs))
        first = self.tensors[outputs[0]]
        return Step(number, kind, inputs, outputs, tflite_file.shape(first), first.name.decode())


def pairs(reference: Trace, other: Trace) -> list[tuple[Step, Step]]:
    """Return the operators of two files that compute the same, in their order: of one kind, with outputs of one shape.

    Files that were converted from one graph have the same operators but for what is only recoded; where they differ,
    the longest runs in common are taken.
    """
    left, right = ([(step.operator, step.shape) for step in trace.steps] for trace in (reference, other))
    matched: list[tuple[Step, Step]] = []
    for block in difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        own, others = slice(block.a, block.a + block.size), slice(block.b, block.b + block.size)
        matched += zip(reference.steps[own], other.steps[others], strict=True)
    return matched
