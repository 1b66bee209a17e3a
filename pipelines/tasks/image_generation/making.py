"""How models make pictures: in one step, in many, or by codes that are drawn first."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from etils import epy

from export.predictors import choose
from export.signature import Arrays, Function, Signature, Tensor
from models.latent_diffusion import TOKENS
from pipelines.tasks.evaluation import Evaluation
from pipelines.tasks.image_generation.measure import CONDITION, GENERATED

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data
    from pipelines.ingest.index import Index

IMAGE, NOISE = "image", "noise"
#: A server's signature from noise, and a condition, to pictures, where the usual one is a part of making them.
GENERATE = "generate"


class Making(Protocol):
    """How models of a kind make pictures."""

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        """Return what a model gives that files are held against."""
        ...

    def signature(self, index: Index) -> Signature:
        """Return the usual signature of what ships."""
        ...

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the pictures as `generated`, and what the network says by the usual signature where inputs are those
        of the data."""
        ...

    def functions(self, model: Any, data: Data) -> list[Function]:
        """Return the signatures of a file for devices, the usual one first."""
        ...

    def in_graph(self, model: Any, data: Data) -> Callable[[Mapping[str, Any]], Any]:
        """Return the function of `noise`, and `condition` where one is asked for, to pictures, 0..255, in a graph. It
        also takes its settings."""
        ...

    def settings(self, index: Index) -> tuple[Tensor, ...]:
        """Return what else can be asked for of each picture: numbers."""
        ...

    def driver(self) -> dict[str, Any] | None:
        """Return what drivers in bundles must know to make pictures; None where there are no such drivers."""
        ...

    def calibration(self, inputs: Arrays, load: Callable[[], Any]) -> list[tuple[str, Arrays]]:
        """Return what integers are calibrated with, by signature."""
        ...

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with what only such models are measured by."""
        ...


def asked_of(index: Index) -> tuple[Tensor, ...]:
    """Return what pictures are made of: noise, and a condition or a text where one is asked for."""
    return tuple(index.inputs[name] for name in (NOISE, CONDITION, TOKENS) if name in index.inputs)


def predicted(predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
    """Return what a predictor says by its usual signature, which is given no more than it takes: a server refuses
    more."""
    taken = {tensor.name for tensor in choose(predictor.signatures).inputs}
    return predictor.predict({name: values for name, values in inputs.items() if name in taken})


def served(predictor: Predictor, inputs: Arrays) -> np.ndarray | None:
    """Return the pictures of a server that makes them by itself; None of any other predictor."""
    if GENERATE not in predictor.signatures:
        return None
    asked = {name: inputs[name] for name in (NOISE, CONDITION, TOKENS) if name in inputs}
    return predictor.predict(asked, GENERATE)[GENERATED]


def said_by_part(predictor: Predictor, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
    """Return what a part of a model says: by its signature, or of the trained model, which is in one piece, with zeros
    for what the others take."""
    if signature in predictor.signatures:
        return predictor.predict(inputs, signature)
    count = len(next(iter(inputs.values())))
    zeros = {tensor.name: np.zeros((count, *(size or 1 for size in tensor.shape)), tensor.dtype)
             for tensor in choose(predictor.signatures).inputs if tensor.name not in inputs}
    return predictor.predict({**inputs, **zeros})
