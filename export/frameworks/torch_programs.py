"""Programs of PyTorch, `torch.export.save(program, "model.pt2")`: as ONNX files, and asked in PyTorch.

PyTorch has an environment of its own, `make torch`: what it pins differs from what TensorFlow does. It is asked in a
process there, by a script that is all of this project that it sees.
"""
from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import last_line
from export.keras_models.imported import plain

with epy.lazy_imports():
    import numpy as np
    import onnx

#: Of saved programs.
ENDING = ".pt2"
#: Names another Python that has PyTorch, ONNX and onnxscript.
VARIABLE = "LITEPRESS_TORCH"
#: Where `make torch` puts its environment, in the folder of this one's.
FOLDER = "torch"
#: What runs there.
SCRIPT = Path(__file__).with_name("torch_side.py")
#: Exit code of the script where a model is refused.
REFUSED = 2


@dataclasses.dataclass(frozen=True)
class TorchProgram:
    """A saved program, asked in PyTorch.

    Args:
        path: its file.
        onnx: the ONNX file that was made of it, whose outputs have the names.
    """

    path: Path
    onnx: Path

    def answers(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what it answers, see `export.frameworks.program.Program`."""
        graph = onnx.load(str(self.onnx), load_external_data=False).graph
        constants = {one.name for one in graph.initializer}
        named: dict[str, Any] = {value.name: inputs[plain(value.name)] for value in graph.input
                                 if value.name not in constants}
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "inputs.npz", Path(folder) / "answers.npz"
            np.savez(given, **named)
            _run("ask", program=str(self.path), inputs=str(given), answers=str(made))
            loaded = np.load(made)
            return {plain(value.name): loaded[f"arr_{number}"] for number, value in enumerate(graph.output)}


def python() -> Path:
    """Return the Python that has PyTorch. Raises ValueError where there is none."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else Path(sys.prefix) / FOLDER / "bin" / "python"
    if not path.exists():
        raise ValueError(f"PyTorch is not installed ({path}): make torch brings it into an environment of its own (6.3 "
                         f"GB on disk), or name a Python that has torch, onnx and onnxscript in {VARIABLE}")
    return path


def to_onnx(program: Path, target: Path) -> None:
    """Write a saved program as an ONNX file.

    Raises:
        ValueError: PyTorch is not installed, or the program cannot be read, leaves sizes open beside the batch, or has
            an operator that ONNX has not.
    """
    _run("onnx", program=str(program), onnx=str(target))


def export(function: str, inputs: dict[str, np.ndarray], target: Path) -> None:
    """Save the module that a function makes as a program. Its code is run.

    Args:
        function: module:function, found from this folder on.
        inputs: at least two examples of what the module takes, by the names of its parameters.
        target: the .pt2 file to be made.

    Raises:
        ValueError: PyTorch is not installed, there is no such function, or PyTorch cannot export what it gives.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "inputs.npz"
        two: dict[str, Any] = {name: values[:2] for name, values in inputs.items()}
        np.savez(given, **two)
        _run("export", function=function, inputs=str(given), program=str(target))


def _run(what: str, **job: Any) -> None:
    """Let the script do a job in PyTorch's environment. Raises ValueError."""
    command = str(python())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run([command, str(SCRIPT), what, str(path)], capture_output=True, text=True,
                              env=environment, check=False)
    if done.returncode:
        line = last_line(done.stderr, 600 if done.returncode == REFUSED else 200)
        title = job.get("function") or job["program"]
        raise ValueError(line if done.returncode == REFUSED else f"PyTorch fails at {title}: {line}")
