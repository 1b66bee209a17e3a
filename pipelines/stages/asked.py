"""What a predictor is asked on the test split, batch by batch, and what is kept of it: nothing here grows with the test
set."""
from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from etils import epy

from export.signature import Arrays
from pipelines.errors import StageError
from pipelines.ingest.data import BATCH_BYTES, Data

with epy.lazy_imports():
    import numpy as np

#: The trained model's outputs are kept for as many examples as take less than this.
REFERENCE_BYTES = 512 * 2**20
#: Examples that are asked again, in another order, at most.
PROBE = 200


def probe_size(data: Data, kept: int) -> int:
    """Return how many examples are asked again in another order: few where outputs are large, at most those that were
    kept."""
    return min(kept, PROBE, max(2, BATCH_BYTES // sum(tensor.bytes for tensor in data.task.outputs(data.index))))


class Kept:
    """Writes outputs of the first examples into .npy files, as they come.

    Args:
        folder: to be made, one file per output in it.
        examples: how many there will be.
    """

    def __init__(self, folder: Path, examples: int):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self.examples = examples
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.written = 0

    def add(self, outputs: Arrays) -> None:
        """Append a batch, as far as there is room.

        Raises:
            StageError: an output is of another size than in the first batch.
        """
        if not self.shapes:
            size = sum(value[:1].nbytes for value in outputs.values())
            count = max(1, min(self.examples, REFERENCE_BYTES // max(1, size)))
            for name, value in outputs.items():
                self.shapes[name] = (count, *value.shape[1:])
                self._file(name, "w+", dtype=value.dtype, shape=self.shapes[name])
        for name, value in outputs.items():
            room, *shape = self.shapes[name]
            if value.shape[1:] != tuple(shape):
                raise StageError(f"evaluate: {name} is {value.shape[1:]} in one batch and {tuple(shape)} in another; "
                                 "outputs whose size varies are not compared so far")
            if len(fitting := value[:room - self.written]):
                self._file(name, "r+")[self.written:self.written + len(fitting)] = fitting
        self.written += len(fitting)

    def _file(self, name: str, mode: Literal["r+", "w+"], **new: Any) -> np.memmap:
        """Return the file of an output, mapped anew each time: pages of a map that stays count as memory."""
        return np.lib.format.open_memmap(self.folder / f"{name}.npy", mode, **new)


@dataclasses.dataclass
class _Wrong:
    score: float
    position: int
    inputs: Arrays
    targets: Arrays
    outputs: Arrays


class Worst:
    """Remembers the examples that a predictor is most wrong about; where it is wrong about none, those it was least
    sure of.

    Args:
        most: how many.
    """

    def __init__(self, most: int):
        self.most = most
        self.kept: list[_Wrong] = []
        self.seen = 0

    def add(self, inputs: Arrays, targets: Arrays, outputs: Arrays, wrong: np.ndarray) -> None:
        """Look at a batch."""
        order = np.argsort(-wrong, kind="stable")[:self.most]
        for one in order:
            rows = [_row(arrays, one) for arrays in (inputs, targets, outputs)]
            self.kept.append(_Wrong(float(wrong[one]), self.seen + int(one), *rows))
        self.kept = sorted(self.kept, key=lambda one: (-one.score, one.position))[:self.most]
        self.seen += len(wrong)

    @property
    def chosen(self) -> Sequence[_Wrong]:
        """Return the wrong ones, the worst first; all where none is wrong."""
        return [one for one in self.kept if one.score > 0] or self.kept


def _row(arrays: Arrays, position: int) -> dict[str, np.ndarray]:
    return {name: np.array(values[position:position + 1]) for name, values in arrays.items()}


class Varied:
    """Chooses golden samples: the first example of each class, where the task has classes, else the first examples.

    Args:
        target: with the classes, one per example; None where there is none.
        most: how many.
    """

    def __init__(self, target: str | None, most: int):
        self.target = target
        self.most = most
        self.firsts: dict[int, int] = {}
        self.seen = 0

    def add(self, targets: Arrays) -> None:
        """Look at a batch of targets."""
        count = len(next(iter(targets.values())))
        keys = np.asarray(targets[self.target]) if self.target is not None else np.arange(self.seen, self.seen + count)
        for offset, key in enumerate(keys.tolist()):
            self.firsts.setdefault(key, self.seen + offset)
        self.seen += count

    @property
    def positions(self) -> list[int]:
        """Return where the samples are in the split."""
        return sorted(self.firsts.values())[:self.most]


def checked(title: str, ask: Callable[[], None]) -> None:
    """Run something that compares; a ValueError becomes a StageError that names the artifact."""
    try:
        ask()
    except ValueError as error:
        raise StageError(f"verify {title}: {error}") from error
