"""What every operator of a TFLite file answers, not only the last."""
from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence

from etils import epy

from export.predictors import in_colours, to_real, to_tensor
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Step:
    """An operator of the main graph.

    Args:
        number: its place among those that compute, counted from 0; what only recodes has none.
        operator: its kind, for instance CONV_2D.
        inputs, outputs: the places of its tensors in the file.
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
        content: the file.

    Raises:
        ValueError: the bytes are no TFLite file that LiteRT can run.
    """

    def __init__(self, content: bytes):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.model = tflite_file.read(content)
        self.tensors = self.model.subgraphs[0].tensors
        self.steps = [
            Step(number, kind, tuple(map(int, operator.inputs)), tuple(map(int, operator.outputs)),
                 tuple(map(int, _shape(self.tensors[operator.outputs[0]]))), self.tensors[operator.outputs[0]].name.decode())
            for number, (kind, operator) in enumerate(tflite_file.own_operators(self.model))]
        try:
            # delegates fuse operators and keep no intermediate values
            self._interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True,
                                            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"no TFLite model that LiteRT can run: {str(error).splitlines()[0]}") from error
        self._input = self._interpreter.get_input_details()[0]
        self._details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}

    def run(self, picture: np.ndarray) -> None:
        """Runs one example, raw pixels (height, width, channels); a grey one is repeated where the file takes RGB."""
        self._interpreter.set_tensor(self._input["index"], to_tensor(in_colours(picture[None], self._input["shape"]), self._input))
        self._interpreter.invoke()

    def stored(self, tensor: int) -> np.ndarray:
        """What a tensor holds after the last run, as it is written."""
        return self._interpreter.get_tensor(tensor)

    def real(self, tensor: int) -> np.ndarray:
        """What a tensor stands for after the last run, as real numbers."""
        return np.asarray(to_real(self.stored(tensor), self._details[tensor]), np.float32)

    def scale(self, tensor: int) -> float:
        """The step between two neighbouring values of a tensor; 0 where it is not quantized."""
        return float(self._details[tensor]["quantization"][0])

    def is_quantized(self, tensor: int) -> bool:
        return self.scale(tensor) > 0

    def source(self, tensor: int) -> int:
        """The tensor that a value was before it was only recoded."""
        while tensor in self._recoded:
            tensor = self._recoded[tensor]
        return tensor

    @property
    def _recoded(self) -> dict[int, int]:
        if not hasattr(self, "_recodings"):
            self._recodings = {int(operator.outputs[0]): int(operator.inputs[0]) for operator in self.model.subgraphs[0].operators
                               if tflite_file.operator_name(self.model, operator) in tflite_file.RECODING}
        return self._recodings


def pairs(reference: Trace, other: Trace) -> list[tuple[Step, Step]]:
    """The operators of two files that compute the same, in their order: the same kinds with outputs of the same shapes.

    Files that were converted from one graph have the same operators but for what is only recoded; where they differ, the longest runs in
    common are taken.
    """
    left, right = ([(step.operator, step.shape) for step in trace.steps] for trace in (reference, other))
    found: list[tuple[Step, Step]] = []
    for block in difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        found += zip(reference.steps[block.a:block.a + block.size], other.steps[block.b:block.b + block.size], strict=True)
    return found


def _shape(tensor: object) -> Sequence[int]:
    shape = tensor.shape  # type: ignore[attr-defined]
    return () if shape is None else shape
