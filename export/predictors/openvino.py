"""OpenVINO models, on the CPU."""
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


class OpenVINOPredictor(BatchPredictor):
    """An OpenVINO model on the CPU, one example at a time.

    It computes in float32 where it is not integer: the CPU's own choice may be bfloat16, which is off by percents. On
    x86 processors without VNNI OpenVINO's integer kernels add in 16 bits and saturate, so integer models are computed
    there as what their numbers stand for.

    Args:
        path: the .xml file, its .bin beside it.
        threads: processor threads to use.

    Raises:
        ValueError: the model cannot be read, or OpenVINO is not installed.
    """

    def __init__(self, path: Path, threads: int = 1):
        try:
            import openvino
        except ImportError as error:
            raise ValueError(f"{path} wants OpenVINO: .venv/bin/pip install -e '.[openvino]'") from error
        try:
            self.compiled = openvino.Core().compile_model(str(path), "CPU", {
                "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                "LP_TRANSFORMS_MODE": "NO" if _saturates() else "YES"})
        except Exception as error:
            raise ValueError(f"{path} is not a model that OpenVINO can run: {first_line(error)}") from error
        inputs = {_name(port, "input", index): port for index, port in enumerate(self.compiled.inputs)}
        outputs = {_name(port, "output", index): port for index, port in enumerate(self.compiled.outputs)}
        self.signatures = {DEFAULT: Signature(
            inputs=tuple(_tensor(name, port) for name, port in inputs.items()),
            outputs=tuple(_tensor(name, port, output=True) for name, port in outputs.items()))}
        self._types = {name: port.element_type.to_dtype() for name, port in inputs.items()}
        self._outputs = list(outputs)

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        outputs = self.compiled(self._stored(batch))
        return {name: np.array(outputs[index]) for index, name in enumerate(self._outputs)}

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        import openvino

        request = self.compiled.create_infer_request()
        for index, value in enumerate(self._stored(batch)):
            request.set_input_tensor(index, openvino.Tensor(value))
        return request.infer

    def _stored(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return [np.ascontiguousarray(batch[name].astype(dtype)) for name, dtype in self._types.items()]


def _name(port: Any, kind: str, index: int) -> str:
    """Return a port's name; its kind and number where it has none, as in models that were not made here."""
    return sorted(port.get_names())[0] if port.get_names() else f"{kind}_{index}"


def _tensor(name: str, port: Any, *, output: bool = False) -> Tensor:
    shape = [size.get_length() if size.is_static else None for size in port.partial_shape]
    return described(name, port.element_type.to_dtype().name, shape, output=output)


def _saturates() -> bool:
    """Return whether this is an x86 processor that multiplies 8-bit integers without VNNI or AMX."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next(line for line in lines if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return not {"avx512_vnni", "avx_vnni", "amx_int8"} & set(flags)
