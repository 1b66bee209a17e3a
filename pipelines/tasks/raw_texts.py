"""The texts of a split as the source has them, for what reads words and not tokens."""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from etils import epy

from pipelines.ingest.index import Index, Part
from pipelines.ingest.sources.source import Source
from pipelines.ingest.tracing import as_written

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: Texts whose tokens are made at once.
BATCH = 256


def texts(data: Data, part: Part, name: str) -> Iterator[str]:
    """Give the texts of a split in its fixed order.

    Args:
        name: of the feature that is made of them.
    """
    return _of_source(data.section.source, data.index, part, data.features[name].field_name(name))


class Originals:
    """The held-out texts that tokens were made of, as they are asked for: a split in its fixed order, from its first
    text. Of others that have the same tokens, the first.

    Args:
        source, index: where the texts are, and in which order.
        field: what the source calls them.
        tokens: from a text, a string, to its tokens, int32 (length,).
    """

    def __init__(self, source: Source, index: Index, field: str, tokens: Callable[[tf.Tensor], tf.Tensor]):
        self.source, self.index, self.field, self.tokens = source, index, field, tokens
        self.asked = 0

    def of(self, tokens: np.ndarray) -> str | None:
        """Return the text that has these tokens, int32 (length,); None where none of the source has."""
        place = self.place_of(tokens)
        return None if place is None else self._splits[place[0]][place[1]][1]

    def place_of(self, tokens: np.ndarray) -> tuple[Part, int] | None:
        """Return the split of the text that has these tokens, int32 (length,), and its number there; None where none of
        the source has."""
        row = np.asarray(tokens, np.int32).tobytes()
        self._in_order = [part for part in self._in_order if self.asked < len(self._splits[part])
                          and self._splits[part][self.asked][0] == row]
        place = next(((part, self.asked) for part in self._in_order), None) or next(
            ((part, number) for part, own in self._splits.items() for number, (known, _) in enumerate(own)
             if known == row), None)
        self.asked += 1
        return place

    @functools.cached_property
    def _splits(self) -> dict[Part, list[tuple[bytes, str]]]:
        """Return the tokens and the text of each example of the test split, and of the validation split."""
        parts: tuple[Part, ...] = ("test", "validation")
        return {part: self._read(part) for part in parts if part in self.index.splits}

    @functools.cached_property
    def _in_order(self) -> list[Part]:
        """Return the splits that have been asked from their first text on."""
        return list(self._splits)

    def _read(self, part: Part) -> list[tuple[bytes, str]]:
        own = list(_of_source(self.source, self.index, part, self.field))
        if not own:
            return []
        dataset = tf.data.Dataset.from_tensor_slices([text.encode() for text in own])
        rows = (row for batch in dataset.map(self.tokens).batch(BATCH).as_numpy_iterator() for row in batch)
        return [(row.tobytes(), text) for row, text in zip(rows, own, strict=True)]


def _of_source(source: Source, index: Index, part: Part, field: str) -> Iterator[str]:
    split = index.splits[part]
    column = source.column(split.part, field, split.positions)
    values = (example[field] for example in as_written(source.examples)(split.part, split.positions).as_numpy_iterator()
              ) if column is None else column
    for value in values:
        yield bytes(value).decode(errors="replace")
