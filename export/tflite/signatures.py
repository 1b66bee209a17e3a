"""Where a TFLite file begins and ends: how the numbers in its input and its output are written."""
from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from export.tflite import file as tflite_file


class End(BaseModel):
    """An input or output tensor. An integer one stands for (stored - zero) * scale; a float one has no scale.

    Args:
        shape: with the batch, which is 1.
        dtype: float32, uint8, int8 or int16.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero: int = 0

    @property
    def is_raw_pixels(self) -> bool:
        """Whether the stored numbers are the pixels themselves."""
        return self.dtype == "uint8" and self.scale == 1.0 and self.zero == 0


class Ends(BaseModel):
    """Both ends of a file of one picture and one output."""

    input: End
    output: End


def of(content: bytes) -> Ends:
    """The ends of a TFLite file. Raises ValueError where it has not one input and one output, or their numbers are of another kind."""
    graph = tflite_file.read(content).subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(f"it takes {len(graph.inputs)} tensors and gives {len(graph.outputs)}; it must take one picture and give one "
                         "output")
    return Ends(input=_end(graph.tensors[int(graph.inputs[0])]), output=_end(graph.tensors[int(graph.outputs[0])]))


def _end(tensor: Any) -> End:
    dtype = tflite_file.dtypes().get(tensor.type)
    if dtype is None:
        raise ValueError(f"the tensor {tensor.name.decode()} is of a type that is neither float32 nor an integer")
    end = End(shape=tuple(map(int, tensor.shape)), dtype=dtype)
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale) or end.dtype == "float32":
        return end
    return end.model_copy(update={"scale": float(quantization.scale[0]), "zero": int(quantization.zeroPoint[0])})
