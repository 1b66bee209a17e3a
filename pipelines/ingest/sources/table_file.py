"""Tables in files: CSV and Parquet."""
from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

from etils import epy
from pydantic import Field as Setting
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from export.errors import first_line
from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources import table
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource

with epy.lazy_imports():
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as arrow_csv
    import pyarrow.parquet as arrow_parquet

PARTS: tuple[Part, ...] = ("train", "validation", "test")
#: What may stand between the columns of a CSV file.
SEPARATORS: tuple[str, ...] = (",", ";", "\t", "|")
BYTE_ORDER_MARK = "\ufeff"
PANDAS_INDEX = "__index_level_"


class TableFile(TableSource):
    """What both kinds of files have in common.

    Args:
        path: one file with all rows, of which shares become the validation and the test split.
        train, validation, test: or a file for each; without `test` or `validation` a share of `train` stands for it.
    """

    #: What the files are called, for people.
    what: ClassVar[str] = ""
    path: str | None = Setting(None, min_length=1)
    train: str | None = Setting(None, min_length=1)
    validation: str | None = Setting(None, min_length=1)
    test: str | None = Setting(None, min_length=1)

    @model_validator(mode="after")
    def one_file_or_several(self) -> TableFile:
        if (self.path is None) == (self.train is None):
            raise PydanticCustomError("combination", "give path, one file with all rows, or train and what there is of "
                                                     "validation and test")
        if self.path is not None and (self.validation or self.test):
            raise PydanticCustomError("combination", "with path, shares of the rows are validated and tested on; give "
                                                     "train in its place where these have files of their own")
        return self

    @property
    def files(self) -> dict[Part, str]:
        """Return the files by part."""
        named = zip(PARTS, (self.path or self.train, self.validation, self.test), strict=True)
        return {part: path for part, path in named if path is not None}

    def fingerprint(self) -> str:
        versions = [str(self.model_dump())]
        for part, path in self.files.items():
            if not Path(path).is_file():
                setting = "path" if self.path is not None else part
                raise UserError(f"data.source.{self.entry_name}.{setting}: there is no file {path}")
            status = Path(path).stat()
            versions.append(f"{path} {status.st_size} {status.st_mtime_ns}")
        return hashlib.sha256(" ".join(versions).encode()).hexdigest()

    def tables(self) -> Mapping[Part, Table]:
        return _tables(self.fingerprint(), self)

    def read_file(self, path: Path) -> pa.Table:
        """Return what is in a file. Raises UserError."""
        raise NotImplementedError

    def table_of(self, path: Path, kinds: Mapping[str, str] = MappingProxyType({})) -> Table:
        """Return a file's table. Raises UserError.

        Args:
            kinds: columns that are known to be numbers, or text.
        """
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        if not path.stat().st_size:
            raise UserError(f"data: {path} is empty; it must have a header and rows")
        return table.of_arrow(self.read_file(path), path.name, kinds)


class Csv(TableFile, name="csv", shorthand="path"):
    """A table in a CSV file: a line with the names of the columns, then a line per row.

    Args:
        separator: between columns; found in the first line where not given.
        decimal: the sign within numbers.
        missing: how a missing value is spelled, in all columns; by default empty, NA, N/A, NaN, null and the like.
    """

    what = "CSV"
    separator: Literal[",", ";", "\t", "|"] | None = None
    decimal: Literal[".", ","] = "."
    missing: tuple[str, ...] | None = None

    def read_file(self, path: Path) -> pa.Table:
        names, separator = self._header(path)
        convert = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True,
            **({} if self.missing is None else {"null_values": list(self.missing)}))
        parse = arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True)
        read = arrow_csv.ReadOptions(use_threads=False, block_size=min(2**30, max(2**20, path.stat().st_size + 1)))
        try:
            rows = arrow_csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"data: {path} is not a CSV file that can be read: {first_line(error)}") from None
        return rows if self.decimal == "." else _with_points(rows)

    def _header(self, path: Path) -> tuple[list[str], str]:
        """Return the names of the columns, and what stands between them. Raises UserError."""
        import csv

        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                line = file.readline()
                separator = str(self.separator or _separator(line))
                file.seek(0)
                names = next(csv.reader(file, delimiter=separator), [])
        except UnicodeDecodeError as error:
            raise UserError(f"data: {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
        if not any(names):
            raise UserError(f"data: the first line of {path} is empty; it must name the columns")
        return [name.removeprefix(BYTE_ORDER_MARK) for name in names], separator


class Parquet(TableFile, name="parquet", shorthand="path"):
    """A table in a Parquet file."""

    what = "Parquet"

    def read_file(self, path: Path) -> pa.Table:
        try:
            rows = arrow_parquet.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"data: {path} is not a Parquet file that can be read: {first_line(error)}") from None
        # the numbers of rows that pandas keeps, under a name of its own where they have none
        return rows.drop_columns([name for name in rows.column_names if name.startswith(PANDAS_INDEX)])


@functools.lru_cache(maxsize=4)
def _tables(version: str, source: TableFile) -> Mapping[Part, Table]:
    """Return the tables of a source's files, kept until they change."""
    read: dict[Part, Table] = {}
    for part, path in source.files.items():
        known = read.get("train")
        kinds = {column: known.kind(column) for column in known.columns} if known else {}
        read[part] = source.table_of(Path(path), kinds)
        if known is not None:
            table.check(read[part], known)
    return read


def _separator(line: str) -> str:
    """Return what occurs most often outside quotes."""
    plain = "".join(line.split('"')[::2])
    return max(SEPARATORS, key=plain.count)


def _with_points(rows: pa.Table) -> pa.Table:
    """Return texts whose decimal commas are points, where they are within numbers."""
    changed = [pc.replace_substring_regex(rows.column(name), r"^\s*(-?[\d]*),(\d+)\s*$", r"\1.\2")
               for name in rows.column_names]
    return pa.table(changed, names=rows.column_names)


#: Files of tables by their endings.
ENDINGS: dict[str, type[TableFile]] = {".csv": Csv, ".tsv": Csv, ".parquet": Parquet, ".pq": Parquet}
