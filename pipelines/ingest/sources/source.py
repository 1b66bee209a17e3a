"""What a source of examples must be able to do."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from etils import epy

from pipelines.entries import Entry
from pipelines.features.feature import Feature, Field
from pipelines.ingest.index import Part
from pipelines.ingest.tracing import as_written

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class LookedAt:
    """What all annotations of a source come to.

    Args:
        counted: what there is, in a few words.
        faults: what is wrong with some, and what else to know of them, a few words each with their number.
        examples, faulty: how many there are, and how many of them have faults.
        first: of those that have.
    """

    counted: str
    faults: Sequence[str]
    examples: int
    faulty: int
    first: str

    def __str__(self) -> str:
        return f"{self.counted}: {', '.join(self.faults)}" if self.faults else self.counted


class Source(Entry):
    """Where examples come from. Written as a name, `tfds:<name>[:version]`, or a name with settings."""

    #: What holds examples together that must not be in two splits, see `groups`: a patient, for instance.
    grouped_by: ClassVar[str | None] = None
    #: Whether its examples are of people's bodies or cells: what learns from them is no medical device for that.
    medical: ClassVar[bool] = False
    #: Whether a user's folder may be one thing to ask a model about, see `examples_in`.
    reads_folders: ClassVar[bool] = False

    @classmethod
    def name_and_settings(cls, value: Any) -> tuple[str, Any]:
        if isinstance(value, str) and value.startswith("tfds:"):
            return "tfds", {"name": value.removeprefix("tfds:")}
        return super().name_and_settings(value)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        described = super().__get_pydantic_json_schema__(schema, handler)
        if cls is not Source:
            return described
        return {"anyOf": [{"type": "string", "pattern": "^tfds:."}, *described["anyOf"]]}

    def fingerprint(self) -> str:
        """Return what changes when the data change; at once, without TensorFlow.

        Raises:
            UserError: the data cannot be reached.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Bring the data here, if they are not. Raises UserError."""

    def ready(self) -> bool:
        """Return whether the data are here, or `prepare` is a matter of seconds."""
        return True

    def fields(self) -> dict[str, Field]:
        """Return what every example has, by name. Raises UserError."""
        raise NotImplementedError

    def parts(self) -> list[Part]:
        """Return the parts that the source comes in; at least "train"."""
        raise NotImplementedError

    def size(self, part: Part) -> int | None:
        """Return how many examples a part has, unreadable ones among them; None where only reading it would tell."""
        return None

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the raw examples of a part, always in the same order: dicts of each field's tensor and `id`, a string.

        Args:
            part: one of `parts`.
            positions: the examples to give, by their position in the part, ascending; all by default.
        """
        raise NotImplementedError

    def column(self, part: Part, field: str, positions: Sequence[int] | None = None) -> np.ndarray | None:
        """Return one field's raw values as an array, (examples,), where the source has it at hand; None where examples
        must be read one by one."""
        return None

    def looked_at(self, features: Mapping[str, Feature]) -> LookedAt | None:
        """Return what all annotations come to, where the source has them at hand without reading examples; else None.

        Args:
            features: what examples are made of.
        """

    def groups(self, part: Part, name: str, positions: Sequence[int]) -> list[str] | None:
        """Return the group of each example, of a part at ascending positions: what it has under a name, for instance a
        patient. By default that of a field; None where there is none of this name."""
        if name not in self.fields():
            return None
        column = self.column(part, name, positions)
        values = list(column) if column is not None else [
            example[name] for example in as_written(self.examples)(part, positions).as_numpy_iterator()]
        return [one.decode() if isinstance(one, bytes) else str(one) for one in values]

    def examples_in(self, path: Path) -> tuple[list[str], list[np.ndarray]] | None:
        """Return the examples in a file or folder of the user's own, where one holds several: what each is called, and
        its image; None where a file is one example. Raises UserError where it cannot be read."""
        return None

    def of_model(self, classes: int) -> Source:
        """Return the source as data for a model of so many classes, of which its labels may be but some. Raises
        UserError."""
        return self

    def with_classes_apart(self) -> Source:
        """Return the source for a task that tests on other classes than it learns: each part may have its own. By
        default the source as it is."""
        return self

    def without(self, field: str) -> str | None:
        """Return why there is no field of this name, for the user; None where the names of the others say enough."""
        return None

    def diagnose(self, part: Part, error: Exception) -> str:
        """Return what is wrong with a part that could not be read to its end, and what to do."""
        return f"data.source: {self.entry_name} {part} cannot be read: {str(error).splitlines()[0]}"
