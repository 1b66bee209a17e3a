"""Models in two files: a front end that stays in real numbers, and the network behind it."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from etils import epy

from export.predictors.predictor import BatchPredictor, Predictor
from export.signature import DEFAULT, Signature, shown

with epy.lazy_imports():
    import numpy as np

#: How the names of the files end, before their own ending.
FRONT_END, NETWORK = "frontend", "network"
#: Endings of what the two are.
ENDINGS = (".tflite", ".cc")


class TwoFiles(NamedTuple):
    """The files of a model."""

    front_end: Path
    network: Path


def files(folder: Path) -> TwoFiles | None:
    """Return the two files of a model that is a folder; None where it is something else."""
    for ending in ENDINGS:
        parts = [sorted(folder.glob(f"*{part}{ending}")) for part in (FRONT_END, NETWORK)]
        if all(len(part) == 1 for part in parts):
            return TwoFiles(parts[0][0], parts[1][0])
    return None


class TwoFilesPredictor(BatchPredictor):
    """A front end and the network behind it, asked as one model: what the first gives the second takes.

    Args:
        front_end, network: predictors of the files.

    Raises:
        ValueError: the network does not take what the front end gives.
    """

    #: Examples that are handed on at once.
    batch = 256

    def __init__(self, front_end: Predictor, network: Predictor):
        self.front_end, self.network = front_end, network
        first, second = (next(iter(one.signatures.values())) for one in (front_end, network))
        given, taken = ([tensor.shape for tensor in tensors] for tensors in (first.outputs, second.inputs))
        if given != taken or len(given) != 1:
            raise ValueError(f"the front end gives {_listed(given)}, and the network takes {_listed(taken)}: they are "
                             "not of one model")
        self.signatures: Mapping[str, Signature] = {DEFAULT: Signature(inputs=first.inputs, outputs=second.outputs)}

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return self.network.predict(self.front_end.predict(batch))

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], object]:
        first = self.front_end.prepared(batch)
        second = self.network.prepared(self.front_end.predict(batch))
        return lambda: (first(), second())


def _listed(shapes: Sequence[Sequence[int | None]]) -> str:
    return " and ".join(shown((None, *shape)) for shape in shapes)
