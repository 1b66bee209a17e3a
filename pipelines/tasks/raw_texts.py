"""The texts of a split as the source has them, for what reads words and not tokens."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.ingest.index import Part
from pipelines.ingest.tracing import as_written

if TYPE_CHECKING:
    from pipelines.ingest.data import Data


def texts(data: Data, part: Part, name: str) -> Iterator[str]:
    """Give the texts of a split in its fixed order.

    Args:
        name: of the feature that is made of them.
    """
    split, field = data.index.splits[part], data.features[name].field_name(name)
    source = data.section.source
    column = source.column(split.part, field, split.positions)
    values = (example[field] for example in as_written(source.examples)(split.part, split.positions).as_numpy_iterator()
              ) if column is None else column
    for value in values:
        yield bytes(value).decode(errors="replace")
