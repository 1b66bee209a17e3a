"""Pairs of texts out of any table: two of its columns side by side."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from etils import epy
from pydantic import Field as Setting
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from pipelines.errors import UserError
from pipelines.features.pair_text import BETWEEN, FIELD
from pipelines.ingest.index import Part
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource

with epy.lazy_imports():
    import numpy as np

#: A source as a recipe writes it; its own schema would hold this one's, without end.
Of = Annotated[Any, PlainValidator(Source.read), PlainSerializer(lambda source: source.written()),
               WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}],
                               "description": "a source of rows, as data.source takes one"})]


class Pairs(TableSource, name="pairs", shorthand="of"):
    """Two texts of each row of another source as a pair, `pair`, beside all that the row has.

    Args:
        of: a source whose examples are rows: csv, json_lines, parquet, parallel_text and others.
        first, second: the columns; `text` and `text2` where not given.
    """

    of: Of
    first: str = Setting("text", min_length=1)
    second: str = Setting("text2", min_length=1)

    def fingerprint(self) -> str:
        return f"{self.first} {self.second} {self._rows().fingerprint()}"

    def prepare(self) -> None:
        self._rows().prepare()

    def tables(self) -> Mapping[Part, Table]:
        return {part: self._with_pairs(table) for part, table in self._rows().tables().items()}

    def _rows(self) -> TableSource:
        if not isinstance(self.of, TableSource):
            raise UserError(f"data.source.pairs.of: {self.of.entry_name} has no rows; give csv, json_lines, parquet or "
                            "parallel_text")
        return self.of

    def _with_pairs(self, table: Table) -> Table:
        for name in (self.first, self.second):
            if name not in table.columns:
                raise UserError(f"data.source.pairs: {table.name} has no column {name}; it has "
                                f"{', '.join(table.columns)}. Name the texts in first and second")
            if table.kind(name) != "text":
                raise UserError(f"data.source.pairs: the column {name} of {table.name} has numbers, and no texts")
        rows = zip(table.columns[self.first], table.columns[self.second], strict=True)
        pairs = np.array([joined(first, second) for first, second in rows], object)
        return dataclasses.replace(table, columns={**table.columns, FIELD: pairs})


def joined(first: bytes, second: bytes) -> bytes:
    """Return two texts as a pair; tabs within them become spaces."""
    between = BETWEEN.encode()
    return first.replace(between, b" ") + between + second.replace(between, b" ")
