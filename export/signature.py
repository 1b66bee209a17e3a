"""What a model takes and gives: named, typed tensors. Exporters, predictors, bundles and clients of a server all read
it."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from etils import epy
from pydantic import BaseModel

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    Arrays = Mapping[str, np.ndarray]
else:
    #: Name to array; the first axis of each counts the examples.
    Arrays = Mapping

DEFAULT = "serving_default"
DType = Literal["uint8", "int32", "int64", "float32", "bool", "string"]
#: Bytes of one number; of a string, which has no fixed size, those of a pointer to it.
WIDTHS: dict[str, int] = {"uint8": 1, "bool": 1, "int32": 4, "float32": 4, "int64": 8, "string": 8}
Role = Literal["image", "mask", "boxes", "waveform", "text", "tokens", "values", "noise", "state",
               "logits", "scores", "embedding", "length"]


class Tensor(BaseModel, frozen=True):
    """One named tensor of an example.

    Args:
        shape: without the batch; None where it varies.
        role: how it is compared, drawn, kept as a sample, and described to phone frameworks.
        meaning: in a few words, for people: "raw pixels 0..255".
        words: what each position stands for, of an input that is a position in a vocabulary.
        parts: what each position holds, of a vector of different things.
        missing: what a missing value, NaN, counts as, of an input that may be missing.
        delimiters: regular expression of what stands between words, of an input of their positions in `words`.
        padded: whether an image of another size gets a black border, or is cut, around its middle; else it is resized.
        tolerance: how far an output of a float file may be from the trained model's, as a share of its largest value.
    """

    name: str
    dtype: DType
    shape: tuple[int | None, ...]
    role: Role = "values"
    meaning: str = ""
    words: tuple[str, ...] = ()
    parts: tuple[Tensor, ...] = ()
    missing: float | None = None
    delimiters: str = ""
    padded: bool = False
    tolerance: float = 1e-4

    @property
    def bytes(self) -> int:
        """Return how much memory one example takes; a size that varies counts 1."""
        return math.prod(size or 1 for size in self.shape) * WIDTHS[self.dtype]


class Signature(BaseModel, frozen=True):
    """A named way to call a model. Integer files are called with real numbers: their scales are the predictor's
    business."""

    name: str = DEFAULT
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def fit(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return inputs as this signature takes them: in its order and types, one channel repeated to three where an
        image wants them.

        A single input goes by any name, since files made elsewhere have their own. One that is a vector takes as many
        inputs of one number each, in their order.

        Raises:
            ValueError: an input is missing, or of another shape.
        """
        if len(self.inputs) == 1 and len(inputs) == 1:
            inputs = {self.inputs[0].name: next(iter(inputs.values()))}
        if len(self.inputs) == 1 and self.inputs[0].shape == (len(inputs),) and _are_single(inputs):
            columns = [np.asarray(value, self.inputs[0].dtype) for value in inputs.values()]
            inputs = {self.inputs[0].name: np.stack(columns, axis=1)}
        return {tensor.name: _fitted(tensor, inputs) for tensor in self.inputs}

    def example(self, count: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
        """Return random inputs that are valid, for benchmarks and traces; a size that varies is 1."""
        generator = np.random.default_rng(seed)
        return {tensor.name: _random(tensor, count, generator) for tensor in self.inputs}

    def renamed(self, name: str) -> Signature:
        """Return the same signature under another name."""
        return self.model_copy(update={"name": name})


@dataclasses.dataclass(frozen=True)
class Function:
    """A signature and what computes it: `call(**tensors)` gives the outputs by name. What is written as a graph is a
    list of these."""

    signature: Signature
    call: Callable[..., dict[str, Any]]

    def specs(self, batch: int | None) -> list[tf.TensorSpec]:
        """Return the specifications of the arguments, for a fixed batch or, where it is None, for any."""
        return [tf.TensorSpec((batch, *tensor.shape), tensor.dtype, tensor.name) for tensor in self.signature.inputs]


def guessed_role(name: str, dtype: str, shape: Sequence[int | None], *, output: bool = False) -> Role:
    """Return the role that a file's tensor most likely has: files do not say it.

    Args:
        shape: without the batch.
    """
    if name in ("logits", "scores", "embedding", "length"):
        return name  # type: ignore[return-value]
    if dtype == "string":
        return "text"
    if len(shape) == 3 and shape[-1] in (1, 3) and not output:
        return "image"
    if dtype in ("int32", "int64") and len(shape) <= 1 and not output:
        return "tokens"
    return "values"


def _are_single(inputs: Arrays) -> bool:
    """Return whether each input is one number per example."""
    return all(np.ndim(value) == 1 and np.asarray(value).dtype.kind in "fiub" for value in inputs.values())


def _fitted(tensor: Tensor, inputs: Arrays) -> np.ndarray:
    if tensor.name not in inputs:
        raise ValueError(f"the input {tensor.name} is missing; there are {', '.join(inputs) or 'none'}")
    value = np.asarray(inputs[tensor.name])
    if tensor.role == "image" and value.ndim == 4 and value.shape[-1] == 1 and tensor.shape[-1] == 3:
        value = np.repeat(value, 3, axis=-1)
    sizes = value.shape[1:]
    if len(sizes) != len(tensor.shape) or any(requested not in (None, size) for size,
                                              requested in zip(sizes, tensor.shape, strict=True)):
        raise ValueError(f"the input {tensor.name} is {shown(value.shape)}; it must be {shown((None, *tensor.shape))}")
    if tensor.dtype == "uint8" and value.dtype.kind == "f":
        value = np.clip(np.round(value), 0, 255)
    return value if tensor.dtype == "string" else value.astype(tensor.dtype, copy=False)


def _random(tensor: Tensor, count: int, generator: np.random.Generator) -> np.ndarray:
    shape = (count, *(size or 1 for size in tensor.shape))
    if tensor.parts:
        parts = [_random(part, count, generator) for part in tensor.parts]
        return np.stack(parts, axis=1).astype(tensor.dtype)
    if tensor.dtype == "string":
        return np.full(shape, b"")
    if tensor.role in ("image", "mask") or tensor.dtype == "uint8":
        return generator.integers(0, 256, shape).astype(tensor.dtype)
    if tensor.dtype in ("int32", "int64", "bool"):
        return generator.integers(0, 2, shape).astype(tensor.dtype)
    return generator.standard_normal(shape).astype(tensor.dtype)


def shown(shape: Sequence[int | None]) -> str:
    """Return a shape for people, its first axis the batch: (batch, 28, 28, 3)."""
    return "(" + ", ".join("batch" if not position else "?" if size is None else str(size) for position,
                           size in enumerate(shape)) + ")"
