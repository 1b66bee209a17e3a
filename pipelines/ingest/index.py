"""The index that ingest makes of a source: the examples of each split, their tensors, and what was learnt of them."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from etils import epy
from pydantic import BaseModel

from export.signature import Tensor
from pipelines.features.feature import Field, Learnt

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

Part = Literal["train", "validation", "test"]


class Split(BaseModel):
    """A set of examples.

    Args:
        part: of the source, from which they are taken.
        positions: in that part, ascending; all of them where this is None.
        examples: how many.
    """

    part: Part
    positions: list[int] | None
    examples: int


class Unreadable(BaseModel):
    """An example that could not be decoded, and why."""

    name: str
    reason: str


class Index(BaseModel):
    """What ingest knows of the data.

    Args:
        source: its name.
        digest: of all examples, in their order.
        inputs, targets: what the model is given and what it learns to answer, by feature name.
        learnt: by feature name.
        fields: of the source, by name: a task may choose its features among them.
        counts: split, then target, to the number of examples (of pixels, for masks) of each class.
    """

    source: str
    digest: str
    splits: dict[Part, Split]
    unreadable: list[Unreadable] = []
    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    learnt: dict[str, Learnt]
    fields: dict[str, Field] = {}
    counts: dict[Part, dict[str, list[int]]] = {}

    def names(self, target: str) -> list[str]:
        """Return the class names of a target; none where it has no classes."""
        return self.learnt[target].names

    @property
    def class_target(self) -> str | None:
        """Return the target that gives each example one class; None where there is none."""
        return next((name for name, tensor in self.targets.items() if self.names(name) and not tensor.shape), None)

    @property
    def summary(self) -> str:
        counts = " / ".join(f"{split.examples:,} {name}" for name, split in self.splits.items())
        classes = next((len(self.names(name)) for name in self.targets if self.names(name)), 0)
        return f"{counts}, {f'{classes} classes, ' if classes else ''}{len(self.unreadable)} unreadable"


def select(dataset: tf.data.Dataset, positions: Sequence[int] | None) -> tf.data.Dataset:
    """Return the examples at `positions` of a dataset, in its order."""
    if positions is None:
        return dataset
    requested = np.zeros(max(positions, default=-1) + 2, bool)
    requested[list(positions)] = True
    mask = tf.constant(requested)
    last = len(requested) - 1
    chosen = dataset.enumerate().filter(lambda position, _: mask[tf.minimum(position, last)])
    return chosen.map(lambda _, example: example)
