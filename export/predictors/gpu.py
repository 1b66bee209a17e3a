"""TFLite files on this machine's GPU, through LiteRT's own accelerator."""
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.predictors.predictor import BatchPredictor
from export.signature import Signature
from export.tflite import signatures
from export.tflite.signatures import FileSignature, TensorInfo

with epy.lazy_imports():
    import numpy as np


class GpuPredictor(BatchPredictor):
    """A float TFLite file on a GPU, one example at a time.

    Any Vulkan driver will do, a software one too: VK_DRIVER_FILES names it.

    Args:
        path: the file.

    Raises:
        ValueError: there is no GPU and no Vulkan driver, or the accelerator does not take the whole model.
    """

    def __init__(self, path: Path):
        from ai_edge_litert.compiled_model import CompiledModel

        try:
            self._model = CompiledModel.from_file(str(path), accelerator())
        except RuntimeError as error:
            raise ValueError("LiteRT's GPU accelerator does not start: there is no GPU that it knows, nor a software "
                             "one. A Vulkan driver such as SwiftShader, named in VK_DRIVER_FILES, would do") from error
        if not self._model.is_fully_accelerated():
            raise ValueError(f"{path}: the GPU takes only a part of it")
        self._files = signatures.of(path.read_bytes())
        self.signatures = {name: file.signature() for name, file in self._files.items()}
        keys = list(self._model.get_signature_list())
        #: What LiteRT calls each signature: a file without any has one of its own.
        self._keys = {name: name if name in keys else keys[0] for name in self._files}
        self._inputs = {name: self._buffers(name, file, output=False) for name, file in self._files.items()}
        self._outputs = {name: self._buffers(name, file, output=True) for name, file in self._files.items()}

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        file = self._files[signature.name]
        inputs, outputs = self._inputs[signature.name], self._outputs[signature.name]
        for name, info in file.inputs.items():
            inputs[name].write(info.to_tensor(batch[name]).ravel())
        self._model.run_by_name(self._keys[signature.name], inputs, outputs)
        return {name: info.to_real(_read(outputs[name], info)) for name, info in file.outputs.items()}

    def _buffers(self, signature: str, file: FileSignature, *, output: bool) -> dict[str, Any]:
        create = self._model.create_output_buffer_by_name if output else self._model.create_input_buffer_by_name
        return {name: create(self._keys[signature], name) for name in (file.outputs if output else file.inputs)}


def _read(buffer: Any, info: TensorInfo) -> np.ndarray:
    return buffer.read(math.prod(info.shape), np.dtype(info.dtype).type).reshape(info.shape)


def accelerator() -> Any:
    """Return what LiteRT is asked to run a file on."""
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    return HardwareAccelerator.GPU
