"""TFLite files, on LiteRT's interpreter."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.predictors.predictor import BatchPredictor, examples
from export.signature import DEFAULT, Signature
from export.tflite.signatures import FileSignature, TensorInfo, of_detail

with epy.lazy_imports():
    import numpy as np

#: Seconds of work from which on other interpreters are opened for it, how many work at most, and the size of a file of
#: which one must do.
LONG, MOST, LARGE = 0.2, 8, 2**28
Stored = Mapping[str, "np.ndarray"]


class LiteRTPredictor(BatchPredictor):
    """A TFLite file, one example at a time as on a phone, through its signatures.

    Many examples are divided among interpreters, one for each processor, unless it is told to use several threads or
    the file is large: each example is computed as it would be alone.

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
        self._version = self._found()
        self._beside: list[LiteRTPredictor] = []

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        file = self.tensors[signature.name]
        stored = _stored(file, batch)
        rows = self._rows(file, stored, examples(batch))
        return {name: info.to_real(np.concatenate([row[name] for row in rows])) for name, info in file.outputs.items()}

    def _rows(self, file: FileSignature, stored: Stored, count: int) -> list[Stored]:
        """Return what is stored in the outputs for each of some examples."""
        began = time.perf_counter()
        rows, behind = self._in_turn(file, stored, range(1)), range(1, count)
        lanes = self._lanes(min(len(behind), MOST)) if len(behind) * (time.perf_counter() - began) > LONG else [self]
        if len(lanes) == 1:
            return rows + self._in_turn(file, stored, behind)
        with ThreadPoolExecutor(len(lanes)) as pool:
            parts = pool.map(lambda lane, own: lane._in_turn(file, stored, own), lanes,
                             np.array_split(behind, len(lanes)))
        return rows + [row for part in parts for row in part]

    def _lanes(self, most: int) -> list[LiteRTPredictor]:
        """Return itself and those of the same file that work beside it."""
        if self.threads > 1 or self._version is None or self._version != self._found() or self._version[0] > LARGE:
            return [self]
        wanted = min(most, os.cpu_count() or 1) - 1
        self._beside += [LiteRTPredictor(self.path) for _ in range(wanted - len(self._beside))]
        return [self, *self._beside[:wanted]]

    def _found(self) -> tuple[int, int, int] | None:
        """Return size, number and time of the file, if it is still there."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_size, status.st_ino, status.st_mtime_ns

    def _in_turn(self, file: FileSignature, stored: Stored, positions: Iterable[int]) -> list[Stored]:
        return [self._run(file, {name: value[position:position + 1] for name, value in stored.items()})
                for position in positions]

    def _run(self, file: FileSignature, stored: Stored) -> Stored:
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
