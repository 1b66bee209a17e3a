"""What a predictor is asked on the test split, batch by batch, and what is kept of it: nothing here grows with the test
set, but for a number per example where examples are ranked."""
from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from etils import epy

from export.predictors import Predictor
from export.signature import Arrays
from pipelines.errors import StageError
from pipelines.ingest.data import BATCH_BYTES, Data
from pipelines.tasks.answered import Answered

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


class First:
    """Keeps the inputs of the first examples, and what was answered to them: those that are asked again.

    Args:
        most: how many.
    """

    def __init__(self, most: int):
        self.most = most
        self.seen = 0
        self._kept: list[tuple[Arrays, Arrays]] = []

    def add(self, inputs: Arrays, outputs: Arrays) -> None:
        """Look at a batch."""
        count = len(next(iter(inputs.values())))
        room = self.most - self.seen
        if room > 0:
            self._kept.append((_rows(inputs, slice(0, room)), _rows(outputs, slice(0, room))))
        self.seen += count

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs, by name, (examples, ...)."""
        return _joined([inputs for inputs, _ in self._kept])

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """Return the outputs, by name, (examples, ...)."""
        return _joined([outputs for _, outputs in self._kept])


class Shown(Protocol):
    """Chooses the examples that the report shows."""

    def add(self, inputs: Arrays, targets: Arrays, outputs: Arrays, wrong: np.ndarray) -> None:
        """Look at a batch, and at how wrong each example is."""
        ...

    def examples(self, data: Data, predictor: Predictor) -> Sequence[Answered]:
        """Return those that were chosen, after the last batch."""
        ...


class Worst:
    """Remembers the examples that a predictor is most wrong about; where it is wrong about none, those it was least
    sure of.

    Args:
        most: how many.
    """

    def __init__(self, most: int):
        self.most = most
        self.kept: list[Answered] = []
        self.seen = 0

    def add(self, inputs: Arrays, targets: Arrays, outputs: Arrays, wrong: np.ndarray) -> None:
        """Look at a batch."""
        order = np.argsort(-wrong, kind="stable")[:self.most]
        for one in order:
            row = slice(one, one + 1)
            self.kept.append(Answered(float(wrong[one]), self.seen + int(one), _rows(inputs, row), _rows(targets, row),
                                      _rows(outputs, row)))
        self.kept = sorted(self.kept, key=lambda one: (-one.wrong, one.position))[:self.most]
        self.seen += len(wrong)

    def examples(self, data: Data, predictor: Predictor) -> Sequence[Answered]:
        """Return the wrong ones, the worst first; all where none is wrong."""
        return [one for one in self.kept if one.wrong > 0] or self.kept


class Ranked:
    """Remembers how wrong every example is, a number each, and asks about the best, the median and the worst again.

    Args:
        each: how many of each rank.
    """

    def __init__(self, each: int):
        self.each = each
        self._wrong: list[np.ndarray] = []

    def add(self, inputs: Arrays, targets: Arrays, outputs: Arrays, wrong: np.ndarray) -> None:
        """Look at a batch."""
        self._wrong.append(np.array(wrong, np.float32))

    def examples(self, data: Data, predictor: Predictor) -> Sequence[Answered]:
        """Return the best ones, those in the middle, and the worst: no example twice where there are few. Examples of
        which nothing was measured, NaN, are left out where there are others."""
        wrong = np.concatenate(self._wrong)
        order = np.argsort(wrong, kind="stable")
        order = order[:np.isfinite(wrong).sum()] if np.isfinite(wrong).any() else order
        each = max(1, min(self.each, len(order) // 3))
        middle = (len(order) - each) // 2
        ranked: dict[int, str] = {}
        for rank, positions in (("best", order[:each]), ("worst", order[-each:]),
                                ("median", order[middle:middle + each])):
            for position in positions.tolist():
                ranked.setdefault(position, rank)
        asked = sorted(ranked, key=lambda position: ("best", "median", "worst").index(ranked[position]))
        return [self._answered(data, predictor, position, float(wrong[position]), ranked[position])
                for position in asked]

    def _answered(self, data: Data, predictor: Predictor, position: int, wrong: float, rank: str) -> Answered:
        """Return one example, asked on its own: those of a dense task fill the memory together."""
        inputs, targets = data.arrays("test", [position])
        return Answered(wrong, position, inputs, targets, data.task.answer(predictor, inputs), rank)


def _rows(arrays: Arrays, rows: slice) -> dict[str, np.ndarray]:
    """Return copies of some rows, which do not hold the memory of the whole batch."""
    return {name: np.array(values[rows]) for name, values in arrays.items()}


def _joined(parts: Sequence[Arrays]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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

    def add(self, inputs: Arrays, targets: Arrays) -> None:
        """Look at a batch."""
        count = len(next(iter(inputs.values())))
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
