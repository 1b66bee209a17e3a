"""C++ arrays for microcontrollers, on TensorFlow Lite Micro's own kernels."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from etils import epy

from export.predictors.predictor import BatchPredictor
from export.signature import Signature
from export.targets import microcontroller
from export.tflite import file as tflite_file
from export.tflite import signatures

with epy.lazy_imports():
    import numpy as np


class MicroRunner:
    """A model of a .cc file on TensorFlow Lite Micro's own kernels, in the arena that the file asks for.

    Args:
        path: the .cc file, its .h beside it.

    Raises:
        ValueError: the files hold no model, or tflite-micro is not installed.
    """

    def __init__(self, path: Path):
        arena = re.search(r"arena_bytes = (\d+);", path.with_suffix(".h").read_text())
        if arena is None:
            raise ValueError(f"{path.with_suffix('.h')} does not say how large the arena must be")
        content = microcontroller.read(path)
        self.file = signatures.of_main_graph(content)
        graph = tflite_file.read(content).subgraphs[0]
        self._inputs = {name: list(graph.inputs).index(info.index) for name, info in self.file.inputs.items()}
        self._outputs = {name: list(graph.outputs).index(info.index) for name, info in self.file.outputs.items()}
        self._interpreter = microcontroller.runtime().Interpreter.from_bytes(content, arena_size=int(arena[1]))

    def run(self, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the stored outputs of one inference on stored inputs."""
        for name, position in self._inputs.items():
            self._interpreter.set_input(stored[name], position)
        self._interpreter.invoke()
        return {name: self._interpreter.get_output(position) for name, position in self._outputs.items()}


class MicroPredictor(BatchPredictor):
    """A C++ array of an integer model, one example at a time.

    Args:
        path: the .cc file, its .h beside it.
        threads: one, whatever is asked for.

    Raises:
        ValueError: the files hold no model, or tflite-micro is not installed.
    """

    def __init__(self, path: Path, threads: int = 1):
        self.runner = MicroRunner(path)
        self.signatures = {self.runner.file.name: self.runner.file.signature()}

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        outputs = self.runner.run(self._stored(batch))
        return {name: info.to_real(outputs[name]) for name, info in self.runner.file.outputs.items()}

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        stored = self._stored(batch)
        return lambda: self.runner.run(stored)

    def _stored(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: info.to_tensor(batch[name]) for name, info in self.runner.file.inputs.items()}
