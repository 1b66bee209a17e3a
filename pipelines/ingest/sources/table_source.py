"""Sources whose examples are the rows of a table that fits in memory."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from etils import epy

from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources import table
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.table import Table

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class TableSource(Source):
    """What table sources have in common: fields are columns, an example is a row, called "houses.csv row 17".

    A column called `id` is a field, but examples have their own identifier in its place.
    """

    def tables(self) -> Mapping[Part, Table]:
        """Return the parts, read once. Raises UserError."""
        raise NotImplementedError

    def fields(self) -> dict[str, Field]:
        return table.fields(list(self.tables().values()))

    def parts(self) -> list[Part]:
        return list(self.tables())

    def size(self, part: Part) -> int | None:
        return self.tables()[part].rows

    def column(self, part: Part, field: str, positions: Sequence[int] | None = None) -> np.ndarray:
        values = self.tables()[part].columns[field]
        return values if positions is None else values[np.asarray(positions, int)]

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        rows = self.tables()[part]
        names = list(self.tables()["train"].columns)
        taken = np.arange(rows.rows) if positions is None else np.asarray(positions, int)
        taken = taken[taken < rows.rows]
        values = {name: rows.columns[name][taken] for name in names}
        identifiers = np.array([rows.row(number) for number in taken.tolist()], object)
        return tf.data.Dataset.from_tensor_slices({**values, "id": identifiers})
