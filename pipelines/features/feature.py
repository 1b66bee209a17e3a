"""What a feature is: one named part of an example, by its modality."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from etils import epy
from pydantic import BaseModel
from pydantic import Field as Setting

from export.signature import Role, Tensor
from pipelines.entries import Entry
from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Field(BaseModel):
    """What a source holds under a name.

    Args:
        kind: bytes of a file, text, a class's number, a number, a date or time, an array, or boxes, see
            `features.boxes`.
        names: of the classes, in the order of their numbers; of a table's column all that occurs in it, in order, where
            that is little.
        shape: of an array, or of what a file decodes to, without the examples; None where a size varies.
        dtype: of an array's numbers, as NumPy calls it, where the source says it.
        points: names of the key points that each of the boxes has.
        note: what is odd about it, in a sentence; whoever makes something else of it than a number may go on.
    """

    kind: Literal["bytes", "text", "class", "number", "time", "array", "boxes"]
    names: list[str] | None = None
    shape: tuple[int | None, ...] | None = None
    dtype: str = ""
    points: list[str] | None = None
    note: str = ""


class Learnt(BaseModel):
    """What a feature has learnt of the data, on the training split alone: written by ingest, once.

    Args:
        names: of the classes.
        points: names of the key points of boxes.
        statistics: numbers by name, for instance a mean and a deviation.
    """

    names: list[str] = []
    points: list[str] = []
    statistics: dict[str, list[float]] = {}


class Feature(Entry):
    """How one named part of an example gets from a source's field to a tensor, in tf.data and in a served graph alike.

    Args:
        field: what the source calls it; the feature's own name where not given.
    """

    #: How its tensor is compared, drawn and described.
    role: ClassVar[Role] = "values"
    #: Whether it is decoded from the bytes of a file, which a server can be sent.
    encoded: ClassVar[bool] = False
    #: Whether it gives each example one class, see `class_of`.
    of_classes: ClassVar[bool] = False
    #: Whether an example whose target has a fault is left out and counted, as those are whose inputs cannot be read.
    counts_faults: ClassVar[bool] = False
    #: Whether `counts` takes what a source gives as well as what is made of it, so that nothing is read twice.
    counts_raw: ClassVar[bool] = False
    #: Whether ingest counts how often each class of a target with names occurs.
    counted: ClassVar[bool] = True
    #: The kinds of source fields that it can be made of.
    accepts: ClassVar[tuple[str, ...]] = ("array",)
    field: str | None = Setting(None, min_length=1)

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        """Return what the model sees of it."""
        raise NotImplementedError

    def field_name(self, name: str) -> str:
        """Return what the source calls the feature that the task calls `name`."""
        return self.field or name

    def check(self, name: str, fields: dict[str, Field]) -> Field:
        """Return the source's field that this is made of. Raises UserError where there is none of its kind."""
        requested = self.field_name(name)
        if requested not in fields:
            raise UserError(f"data: the source has no field {requested}; it has {', '.join(fields)}. "
                            f"Name it in data.{name}.field")
        if fields[requested].kind not in self.accepts:
            raise UserError(f"data: the source's field {requested} is {fields[requested].kind}, and {name} is made of "
                            f"{' or '.join(self.accepts)}. Name another in data.{name}.field")
        return fields[requested]

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return the feature with what it takes over from those that it is beside in an example, where its settings do
        not say it: by default nothing."""
        return self

    def fingerprint(self) -> str:
        """Return what changes with what is learnt from beside the source's examples; "" where that is nothing. Raises
        UserError where it is not there."""
        return ""

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        """Return what is to be known of the data before anything is decoded.

        Called twice by ingest: without values before the examples are read, which is what `fault` is given, and then
        with those of the training split.

        Args:
            field: of the source.
            values: raw, one of each example; they are read from the source only if they are iterated over.
        """
        return Learnt(names=field.names or [])

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return one example's tensor out of its raw value, in a served graph, which runs without Python."""
        return value

    def load(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return one example's tensor out of its raw value, in the input pipeline: as in a served graph, but that it
        may take what only Python can read."""
        return self.decode(value, learnt)

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        """Return why a raw value cannot be read; None where it can.

        Of a target it goes on from the example's name: "has the label 7, but there are 3 classes".
        """
        return None

    def absent(self) -> Any:
        """Return the raw value of an example that lacks the feature; None where none may."""
        return None

    def class_of(self, value: Any, learnt: Learnt) -> int:
        """Return the class of one example out of a raw value that has no fault; of features `of_classes`."""
        return int(value)

    def sent(self, values: np.ndarray, learnt: Learnt) -> np.ndarray:
        """Return decoded values, (examples, ...), as a server is sent them that does the decoding itself."""
        return values

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return a decoded batch of targets as losses take it: numbers as float32, classes one-hot."""
        return tf.cast(values, tf.float32)

    def from_file(self, path: Path, tensor: Tensor) -> np.ndarray:
        """Return a user's file as the model takes it, one example. Raises UserError."""
        raise UserError(f"{path}: a {self.entry_name} cannot be read from a file")

    def encode(self, value: np.ndarray) -> tuple[str, bytes] | None:
        """Return one example as a file that loses nothing, its ending and its bytes; None where it goes as numbers."""
        return None

    def counts(self, values: np.ndarray, learnt: Learnt) -> np.ndarray | None:
        """Return how often each class occurs in decoded values; None where there are no classes."""
        return None

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw one example."""
        axes.plot(np.ravel(value))

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        """Return one example in a word or two, for titles."""
        return ""

    def properties(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return numbers that say how examples differ, one each, by name: what drift is measured on."""
        return {}
