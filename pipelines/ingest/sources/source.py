"""What a source of labelled pictures must be able to do, and the index that ingest draws up of it."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from etils import epy
from pydantic import BaseModel

from pipelines.entries import Entry

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

Part = Literal["train", "validation", "test"]


class Source(Entry):
    """Where examples come from. Written as a name, `tfds:<name>[:version]`, or a name with settings."""

    @classmethod
    def split(cls, given: Any) -> tuple[str, Any]:
        if isinstance(given, str) and given.startswith("tfds:"):
            return "tfds", {"name": given.removeprefix("tfds:")}
        return super().split(given)

    def fingerprint(self) -> str:
        """Changes when the data change; answers at once, without TensorFlow. Raises UserError where the data cannot be reached."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Brings the data here, if they are not. Raises UserError."""

    def ready(self) -> bool:
        """Whether the data are here, or `prepare` is a matter of seconds."""
        return True

    def classes(self) -> list[str]:
        """The class names, in the order of the labels. Raises UserError."""
        raise NotImplementedError

    def parts(self) -> list[Part]:
        """The parts that the source comes in; at least "train"."""
        raise NotImplementedError

    def size(self, part: Part) -> int | None:
        """How many examples a part has, those that cannot be read among them; None where only reading it would tell."""
        return None

    def raw(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Encoded examples of a part, always in the same order: (bytes of a picture, label, name), all scalars.

        Args:
            part: one of `parts`.
            positions: the examples wanted, by their place in the part; all by default.
        """
        raise NotImplementedError

    def diagnose(self, part: Part, error: Exception) -> str:
        """What is wrong with a part that could not be read to its end, and what to do."""
        return f"data.source: {self.entry_name} {part} cannot be read: {str(error).splitlines()[0]}"


class Split(BaseModel):
    """A set of examples: some positions of a part of a source."""

    part: Part
    positions: list[int] | None
    class_counts: list[int]

    @property
    def examples(self) -> int:
        return sum(self.class_counts)


class Unreadable(BaseModel):
    """A picture that could not be decoded, and why."""

    name: str
    reason: str


class Index(BaseModel):
    """What ingest found: the splits, their classes, and what was left out."""

    source: str
    classes: list[str]
    shape: tuple[int, int, int]
    splits: dict[Part, Split]
    unreadable: list[Unreadable]
    digest: str

    @property
    def summary(self) -> str:
        counts = " / ".join(f"{split.examples:,} {name}" for name, split in self.splits.items())
        return f"{counts}, {len(self.classes)} classes, {len(self.unreadable)} unreadable"


def select(dataset: tf.data.Dataset, positions: Sequence[int] | None) -> tf.data.Dataset:
    """The examples at `positions` of a dataset, in its order."""
    if positions is None:
        return dataset
    wanted = np.zeros(max(positions, default=-1) + 2, bool)
    wanted[list(positions)] = True
    mask = tf.constant(wanted)
    last = len(wanted) - 1
    return dataset.enumerate().filter(lambda place, _: mask[tf.minimum(place, last)]).map(lambda _, example: example)
