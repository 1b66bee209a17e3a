"""What a TFLite file takes and gives, and how its numbers are written."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.signature import DEFAULT, Signature, Tensor
from export.tensors import described
from export.tflite import file as tflite_file
from export.tflite import quantization

with epy.lazy_imports():
    import numpy as np

#: Smallest step of integers that can be raw pixels, 0..255; those of 0..1 have steps of 1/255.
PIXEL = 1 / 32


class TensorInfo(BaseModel):
    """An input or output of a TFLite file. A quantized one stands for (stored - zero) * scale; any other has no scale.

    Args:
        name: in the file's signature.
        shape: with the batch, which is 1; -1 where a size varies.
        dtype: as it is stored, by NumPy's name: float32, uint8, int8, int16, int32, …; string where it is text.
        index: its number in the file's graph.
        tensor_name: its name there.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero: int = 0
    index: int = -1
    tensor_name: str = ""

    @property
    def stores_values(self) -> bool:
        """Return whether the stored numbers are the values themselves, as raw pixels are: uint8, scale 1, zero point
        0."""
        return self.dtype == "uint8" and self.scale == 1.0 and self.zero == 0

    @property
    def reaches_pixels(self) -> bool:
        """Return whether its integers stand for numbers from 0 on that can be raw pixels, 0..255, and not 0..1."""
        return bool(self.scale) and self.zero == np.iinfo(self.dtype).min and self.scale > PIXEL

    def described(self, *, output: bool = False) -> Tensor:
        """Return the tensor as predictors show it: in the type of what it stands for, without its batch."""
        dtype = "float32" if self.scale and not self.stores_values else self.dtype
        return described(self.name, dtype, self.shape, output=output)

    def to_tensor(self, values: np.ndarray) -> np.ndarray:
        """Return values as this tensor stores them."""
        return values if self.dtype == "string" else quantization.to_tensor(values, self.dtype, self.scale, self.zero)

    def beyond(self, values: np.ndarray) -> np.ndarray:
        """Return for each example, the first axis, whether it has values further out than this tensor's integers reach,
        more than rounding takes them: (examples,)."""
        if not self.scale or self.stores_values or self.dtype == "string":
            return np.zeros(len(values), bool)
        limits = np.iinfo(self.dtype)
        steps = np.reshape(values, (len(values), -1)) / self.scale + self.zero
        return np.any((steps < limits.min - 0.5) | (steps > limits.max + 0.5), axis=1)

    def to_real(self, stored: np.ndarray) -> np.ndarray:
        """Return what stored numbers stand for."""
        return quantization.to_real(stored, self.scale, self.zero)


class FileSignature(BaseModel):
    """One way to call a TFLite file.

    Args:
        inputs, outputs: by their names in the signature.
        subgraph: number of the file's graph that computes it.
    """

    name: str
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    subgraph: int = 0

    @property
    def input(self) -> TensorInfo:
        """Return the only input. Raises ValueError where there are several."""
        return _only(self.inputs, "takes")

    @property
    def output(self) -> TensorInfo:
        """Return the only output. Raises ValueError where there are several."""
        return _only(self.outputs, "gives")

    def signature(self) -> Signature:
        """Return the signature as predictors show it: roles guessed, the batch left out."""
        return Signature(name=self.name, inputs=tuple(info.described() for info in self.inputs.values()),
                         outputs=tuple(info.described(output=True) for info in self.outputs.values()))


def of(content: bytes) -> dict[str, FileSignature]:
    """Return the signatures of a TFLite file by name, in the order of its graphs.

    A file that has none is called by serving_default, with its tensors' own names.

    Raises:
        ValueError: the bytes are not a TFLite file, or a tensor holds neither numbers nor text.
    """
    model = tflite_file.read(content)
    if not model.signatureDefs:
        graph = model.subgraphs[0]
        return {DEFAULT: FileSignature(name=DEFAULT, inputs=_named(graph, map(int, graph.inputs)),
                                       outputs=_named(graph, map(int, graph.outputs)))}
    signatures = {}
    for definition in sorted(model.signatureDefs, key=lambda one: one.subgraphIndex):
        graph, name = model.subgraphs[definition.subgraphIndex], definition.signatureKey.decode()
        signatures[name] = FileSignature(name=name, inputs=_mapped(graph, definition.inputs),
                                         outputs=_mapped(graph, definition.outputs), subgraph=definition.subgraphIndex)
    return signatures


def main(content: bytes) -> FileSignature:
    """Return the signature serving_default, or the file's first where it has none of that name."""
    signatures = of(content)
    return signatures.get(DEFAULT) or next(iter(signatures.values()))


def of_main_graph(content: bytes) -> FileSignature:
    """Return the signature of the file's first graph: what runs in tools that know no signatures."""
    return next(iter(of(content).values()))


def of_detail(name: str, detail: Mapping[str, Any]) -> TensorInfo:
    """Return a tensor as LiteRT's interpreter describes it, for what runs a file and need not read it."""
    dtype = np.dtype(detail["dtype"])
    scale, zero = detail["quantization"]
    shape = (*map(int, detail["shape"][:1]), *map(int, detail["shape_signature"][1:]))
    kind = "string" if dtype.kind in "SUO" else dtype.name
    return TensorInfo(name=name, shape=shape, dtype=kind, scale=float(scale), zero=int(zero),
                      index=int(detail["index"]), tensor_name=detail["name"])


def _only(tensors: Mapping[str, TensorInfo], does: str) -> TensorInfo:
    if len(tensors) != 1:
        raise ValueError(f"it {does} {len(tensors)} tensors ({', '.join(tensors)}); it must be one")
    return next(iter(tensors.values()))


def _named(graph: Any, indices: Iterable[int]) -> dict[str, TensorInfo]:
    infos = [_info(graph, index, graph.tensors[index].name.decode()) for index in indices]
    return {info.name: info for info in infos}


def _mapped(graph: Any, entries: Iterable[Any]) -> dict[str, TensorInfo]:
    return {entry.name.decode(): _info(graph, entry.tensorIndex, entry.name.decode()) for entry in entries}


def _info(graph: Any, index: int, name: str) -> TensorInfo:
    tensor = graph.tensors[index]
    scales = tflite_file.scales(tensor)
    quantized = bool(scales) and not tflite_file.dtype(tensor).startswith("float")
    return TensorInfo(
        name=name, shape=tflite_file.open_shape(tensor), dtype=tflite_file.dtype(tensor),
        scale=scales[0] if quantized else 0.0, zero=int(tensor.quantization.zeroPoint[0]) if quantized else 0,
        index=index, tensor_name=tensor.name.decode())
