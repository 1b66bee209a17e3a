"""Sources whose pairs are made of the images of another source."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epy
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.image_pairs import IMAGE, TARGET, ImagePairs
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class MadePairs(ImagePairs):
    """Two images of each example of another source.

    Args:
        of: the other source, as a recipe writes it; its examples have an image.
        paired: false for training without pairs: training examples then have two different images each, and test
            examples, by which models are measured, are pairs all the same.
    """

    of: str | dict[str, Any]

    @field_validator("of")
    @classmethod
    def must_be_a_source(cls, value: Any) -> Any:
        if isinstance(Source.read(value), ImagePairs):
            raise PydanticCustomError("source", "give a source of single images")
        return value

    @property
    def source(self) -> Source:
        """Return the source of the images."""
        return Source.read(self.of)  # type: ignore[return-value]

    @property
    def tests_pairs(self) -> bool:
        return True

    @property
    def setting(self) -> str:
        return f"data.source.{self.entry_name}"

    def pair(self, one: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the two files, string (), of an example of the other source, in a graph."""
        raise NotImplementedError

    def needed(self) -> tuple[str, ...]:
        """Return what it takes of the other source's examples."""
        return (IMAGE,)

    def prepare(self) -> None:
        self.source.prepare()

    def ready(self) -> bool:
        return self.source.ready()

    def fields(self) -> dict[str, Field]:
        known = self.source.fields()
        if IMAGE not in known or known[IMAGE].kind != "bytes":
            raise UserError(f"{self.setting}.of: {self.source.entry_name} has no image files; its examples have "
                            f"{', '.join(known)}. Give a source of images")
        return super().fields()

    def parts(self) -> list[Part]:
        parts = self.source.parts()
        if not self.paired and "test" not in parts:
            raise UserError(f"{self.setting}.paired: false leaves no pairs in the training part, and "
                            f"{self.source.entry_name} has no other to test on; give a source with a test part")
        return parts

    def size(self, part: Part) -> int | None:
        return self.source.size(part)

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        if self.paired or part != "train":
            return self._taken(part, positions).map(self._paired, num_parallel_calls=tf.data.AUTOTUNE)
        count = self.source.size(part) or sum(1 for _ in self.source.examples(part))
        chosen = np.arange(count) if positions is None else np.asarray(positions, int)
        others = (chosen + count // 2) % count  # in two runs, each ascending
        turn = int((others >= chosen).sum()) if count > 1 else len(chosen)
        runs = [self._taken(part, run.tolist()) for run in (others[:turn], others[turn:]) if len(run)]
        beside = runs[0] if len(runs) == 1 else runs[0].concatenate(runs[1])
        both = tf.data.Dataset.zip(self._taken(part, positions), beside)
        return both.map(self._unpaired, num_parallel_calls=tf.data.AUTOTUNE)

    def _taken(self, part: Part, positions: Sequence[int] | None) -> tf.data.Dataset:
        names = (*self.needed(), "id")
        return self.source.examples(part, positions).map(lambda one: {name: one[name] for name in names})

    def _paired(self, one: dict[str, Any]) -> dict[str, Any]:
        image, target = self.pair(one)
        return {IMAGE: image, TARGET: target, "id": one["id"]}

    def _unpaired(self, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        return {**self._paired(one), TARGET: self.pair(other)[1]}
