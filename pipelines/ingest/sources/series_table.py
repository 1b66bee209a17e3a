"""Series in tables: CSV and Parquet files, wide or long."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from pipelines.errors import UserError
from pipelines.ingest.sources import stamps, table
from pipelines.ingest.sources.series import Series
from pipelines.ingest.sources.series_source import Names, SeriesSource
from pipelines.ingest.sources.stamps import Duplicates
from pipelines.ingest.sources.table_file import ENDINGS, Csv

with epy.lazy_imports():
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class SeriesTable(SeriesSource, name="series_table", shorthand="path"):
    """Series in a CSV or Parquet file, one or several, a row for each step (wide), or for each value (long).

    Args:
        path: of the file; one that ends in .parquet or .pq is Parquet, any other CSV.
        time: the column of stamps; rows are steps in their order where it is not given.
        series: the column that names the series of each row; all rows are one series where it is not given.
        variable, value: of a long table, the columns that name a variable and have its value.
        columns: the variables to take; all that are numbers where not given.
        label: the column that says 1 of steps that are out of the ordinary, and 0 of others.
        format: how stamps are written, as strptime has it; as ISO 8601 has it where not given.
        zone: the time zone of stamps without an offset, in which the days of calendar features begin. Stamps with an
            offset are brought to UTC in any case.
        step: the length over which means are taken: 1h, 15min, 1D, 1W, month, quarter or year; where not given, the
            stamps must be regular, and missing ones are gaps.
        duplicates: what rows with one stamp become: their mean or sum, the first or the last; where not given, they are
            refused.
    """

    path: str = Setting(min_length=1)
    time: str | None = None
    series_name: str | None = Setting(None, alias="series")
    variable: str | None = None
    value: str | None = None
    columns: Names = ()
    label: str | None = None
    format: str | None = None
    zone: str | None = None
    step: str | None = None
    duplicates: Duplicates | None = None

    @field_validator("step")
    @classmethod
    def must_be_a_length(cls, value: str | None) -> str | None:
        if value is not None and not stamps.is_step(value):
            raise PydanticCustomError("step", "give the length of a step as 1h, 15min, 30s, 1D, 1W, month, quarter or "
                                              "year")
        return value

    @field_validator("value")
    @classmethod
    def goes_with_variable(cls, value: str | None, info: Any) -> str | None:
        if (value is None) != (info.data.get("variable") is None):
            raise PydanticCustomError("combination", "give variable and value together: the columns of a long table")
        return value

    def fingerprint(self) -> str:
        path = Path(self.path)
        if not path.is_file():
            raise UserError(f"data.source.series_table.path: there is no file {self.path}")
        status = path.stat()
        return hashlib.sha256(f"{self.model_dump()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()

    def series(self) -> tuple[Sequence[str], Sequence[Series]]:
        rows = self._frame()
        if rows.columns.empty:
            raise UserError(f"data: {self._file} has no column of numbers beside the time; series are numbers")
        columns = [column for column in rows.columns if column != self.label]
        return columns, [self._series(str(name), part, columns) for name, part in self._parts(rows)]

    @property
    def _file(self) -> str:
        return Path(self.path).name

    def _frame(self) -> Any:
        """Return the numbers by their columns, under an index of series and stamp. Raises UserError."""
        path = Path(self.path)
        kind = ENDINGS.get(path.suffix.lower(), Csv)
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        if not path.stat().st_size:
            raise UserError(f"data: {path} is empty; it must have a header and rows")
        arrow = kind(path=self.path).read_file(path)
        for setting in ("time", "series", "variable", "value", "label"):
            self._check(setting, {"series": self.series_name}.get(setting, getattr(self, setting, None)), arrow)
        index = {"series": self._owners(arrow), "time": self._times(arrow)}
        aside = {self.time, self.series_name}
        if self.variable is not None:
            return self._of_long(arrow, index)
        kept = [name for name in arrow.column_names if name not in aside]
        if self.columns:
            for name in self.columns:
                self._check("columns", name, arrow)
            kept = [name for name in kept if name in (*self.columns, self.label)]
        numbers = self._numbers(arrow.select(kept)) if kept else {}
        return pd.DataFrame(numbers, index=pd.MultiIndex.from_arrays(list(index.values()), names=list(index)))

    def _of_long(self, arrow: pa.Table, index: Mapping[str, Any]) -> Any:
        assert self.variable is not None and self.value is not None
        values = self._numbers(arrow.select([self.value]))[self.value]
        names = np.array([str(one) for one in arrow.column(self.variable).to_pylist()])
        long = pd.DataFrame({**index, "variable": names, "value": values})
        repeated = long.duplicated(["series", "time", "variable"])
        if repeated.any():
            if self.duplicates is None:
                row = int(repeated.to_numpy().argmax())
                raise UserError(f"data: {self._file} row {row + 1} has a second value of {names[row]} at one stamp, "
                                f"and {int(repeated.sum()):,} rows do; take them out, or say what they become with "
                                "duplicates: mean, sum, first or last")
            keys = ["series", "time", "variable"]
            long = long.groupby(keys, sort=False, as_index=False).agg({"value": self.duplicates})
        wide = long.pivot(index=["series", "time"], columns="variable", values="value")
        kept = list(self.columns) or sorted(wide.columns)
        if absent := [name for name in kept if name not in wide.columns]:
            raise UserError(f"data.source.series_table.columns: there is no variable {absent[0]}; there are "
                            f"{', '.join(sorted(wide.columns))}")
        return wide[kept]

    def _parts(self, rows: Any) -> list[tuple[str, Any]]:
        if self.series_name is None:
            return [(Path(self.path).stem, rows.droplevel("series"))]
        return [(name, part.droplevel("series")) for name, part in rows.groupby(level="series", sort=True)]

    def _series(self, name: str, part: Any, columns: Sequence[str]) -> Series:
        if self.time is not None:
            part = stamps.regular(part, name, self.step, self.duplicates)
        times = part.index.to_numpy()
        times = times.astype("datetime64[s]") if self.time is not None else np.arange(len(part))
        values = part[list(columns)].to_numpy(float)
        labels = None if self.label is None else part[self.label].fillna(0).to_numpy() > 0
        return Series(name, times, values, np.zeros_like(values, bool), labels, self.zone or "")

    def _check(self, setting: str, column: str | None, arrow: pa.Table) -> None:
        if column is not None and column not in arrow.column_names:
            raise UserError(f"data.source.series_table.{setting}: {self._file} has no column {column}; it has "
                            f"{', '.join(arrow.column_names)}")

    def _owners(self, arrow: pa.Table) -> np.ndarray:
        if self.series_name is None:
            return np.zeros(arrow.num_rows, int)
        return np.array([str(one) for one in arrow.column(self.series_name).to_pylist()])

    def _times(self, arrow: pa.Table) -> np.ndarray:
        if self.time is None:
            return np.arange(arrow.num_rows)
        return stamps.read(arrow.column(self.time).to_pandas().to_numpy(object)
                           if not pa.types.is_temporal(arrow.column(self.time).type)
                           else arrow.column(self.time).to_pandas(), self._file, self.format, self.zone)

    def _numbers(self, arrow: pa.Table) -> dict[str, np.ndarray]:
        """Return columns as numbers, NaN where one is missing. Raises UserError where one is not a number."""
        read = table.of_arrow(arrow, self._file)
        if read.times:
            raise UserError(f"data: {self._file} has dates or times in the column {read.times[0]}; name it in "
                            "data.source.series_table.time, or take the other columns with columns")
        for name, values in read.columns.items():
            if values.dtype == object and any(values):
                raise UserError(f"data: {read.notes.get(name) or f'{self._file} has words in the column {name}'}; "
                                "series are numbers: name the columns to take in data.source.series_table.columns")
        return {name: np.full(len(values), np.nan) if values.dtype == object else values.astype(float)
                for name, values in read.columns.items()}


def first_column(path: Path) -> str:
    """Return the name of the first column of a CSV or Parquet file. Raises UserError where it cannot be read."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    kind = ENDINGS.get(path.suffix.lower(), Csv)
    return kind(path=str(path)).read_file(path).column_names[0]
