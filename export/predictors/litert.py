"""TFLite files, on LiteRT's interpreter."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.predictors.predictor import BatchPredictor, examples
from export.signature import DEFAULT, Signature
from export.tflite.signatures import FileSignature, TensorInfo, of_detail

with epy.lazy_imports():
    import numpy as np


class LiteRTPredictor(BatchPredictor):
    """A TFLite file, one example at a time as on a phone, through its signatures.

    Integer inputs and outputs are quantized and dequantized by the scale and zero point that the file states.

    Args:
        path: the file.
        threads: processor threads to use.

    Raises:
        ValueError: the file is not a TFLite model.
    """

    #: Examples whose numbers are quantized at once; they are run one by one.
    batch = 256

    def __init__(self, path: Path, threads: int = 1):
        self.path = path
        self.threads = threads
        self._interpreter = self._opened()
        runners = [self._interpreter.get_signature_runner(name) for name in self._interpreter.get_signature_list()]
        runners.sort(key=lambda runner: runner._subgraph_index)  # as `export.tflite.signatures` has them
        self._runners = {runner._signature_key: runner for runner in runners}
        #: Signature to its tensors as they are stored.
        self.tensors = {name: _of_runner(name, runner) for name, runner in self._runners.items()} or {
            DEFAULT: _of_graph(self._interpreter)}
        self.signatures = {name: file.signature() for name, file in self.tensors.items()}

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        file = self.tensors[signature.name]
        stored = _stored(file, batch)
        rows = [self._run(file, {name: value[position:position + 1] for name, value in stored.items()})
                for position in range(examples(batch))]
        return {name: info.to_real(np.concatenate([row[name] for row in rows])) for name, info in file.outputs.items()}

    def _run(self, file: FileSignature, stored: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if file.name in self._runners:
            return self._runners[file.name](**stored)
        _put(self._interpreter, file, stored)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(info.index) for name, info in file.outputs.items()}

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        interpreter, file = self._opened(), self.tensors[signature.name]
        stored = _stored(file, batch)
        if file.subgraph:  # an interpreter by itself runs the first graph
            runner = interpreter.get_signature_runner(signature.name)
            return lambda: runner(**stored)
        _put(interpreter, file, stored)
        return interpreter.invoke

    def _opened(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_path=str(self.path), num_threads=self.threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{self.path} is not a TFLite model that LiteRT can run: {first_line(error)}") from error
        return interpreter


def _of_runner(name: str, runner: Any) -> FileSignature:
    return FileSignature(name=name, inputs=_tensors(runner.get_input_details().items()),
                         outputs=_tensors(runner.get_output_details().items()), subgraph=runner._subgraph_index)


def _of_graph(interpreter: Any) -> FileSignature:
    """Return the signature of a file that has none: its tensors by their own names."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    return FileSignature(name=DEFAULT, inputs=_tensors((detail["name"], detail) for detail in inputs),
                         outputs=_tensors((detail["name"], detail) for detail in outputs))


def _tensors(details: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, TensorInfo]:
    return {name: of_detail(name, detail) for name, detail in details}


def _stored(file: FileSignature, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: info.to_tensor(batch[name]) for name, info in file.inputs.items()}


def _put(interpreter: Any, file: FileSignature, stored: Mapping[str, np.ndarray]) -> None:
    """Put inputs into an interpreter's own graph, which is given their sizes where the file leaves them open."""
    if any(-1 in info.shape for info in file.inputs.values()):
        for name, value in stored.items():
            interpreter.resize_tensor_input(file.inputs[name].index, value.shape)
        interpreter.allocate_tensors()
    for name, value in stored.items():
        interpreter.set_tensor(file.inputs[name].index, value)
