"""ONNX files, on ONNX Runtime."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import first_line
from export.predictors.predictor import BatchPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tensors import described

with epy.lazy_imports():
    import numpy as np

#: ONNX' names of types that are not NumPy's.
TYPES = {"float": "float32", "double": "float64"}


class ONNXPredictor(BatchPredictor):
    """An ONNX file on ONNX Runtime's CPU provider, one example at a time.

    Args:
        path: the file.
        threads: processor threads to use.

    Raises:
        ValueError: the file cannot be read, or ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, threads: int = 1):
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(f"{path} wants ONNX Runtime: .venv/bin/pip install -e '.[onnx]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ValueError(f"{path} is not an ONNX file that ONNX Runtime can run: {first_line(error)}") from error
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.signatures = {DEFAULT: Signature(inputs=tuple(map(_tensor, inputs)),
                                              outputs=tuple(_tensor(one, output=True) for one in outputs))}
        self._types = {one.name: _type(one) for one in inputs}
        self._outputs = [one.name for one in outputs]

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return dict(zip(self._outputs, self.session.run(self._outputs, self._stored(batch)), strict=True))

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        stored = self._stored(batch)
        return lambda: self.session.run(self._outputs, stored)

    def _stored(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: batch[name] if dtype == "string" else batch[name].astype(dtype)
                for name, dtype in self._types.items()}


def _type(value: Any) -> str:
    """Return NumPy's name of the type of an input or output; ONNX Runtime says `tensor(float)`."""
    name = value.type.removeprefix("tensor(").removesuffix(")")
    return TYPES.get(name, name)


def _tensor(value: Any, *, output: bool = False) -> Tensor:
    shape = [size if isinstance(size, int) else None for size in value.shape]
    return described(value.name, _type(value), shape, output=output)
