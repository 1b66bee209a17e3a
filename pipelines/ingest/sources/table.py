"""Tables in memory: columns of numbers and of words, and what they turn out to be."""
from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from etils import epy

from pipelines.errors import UserError
from pipelines.features.feature import Field

with epy.lazy_imports():
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

#: A column's different values are listed in its field where they are no more than this.
LISTED = 1000
#: A column of numbers or dates, but for no more than this share, is taken for one with mistakes in it.
MISTAKES = 0.1
#: A day or a month.
DAY = r"(0?[1-9]|[12]\d|3[01])"
#: Dates as people and machines write them: 2024-05-31, 31/5/2024, 31.5.24, with a time behind or without. Years have
#: two or four digits, and there is no month 0: 1.2.3 and 1.0.13 are versions.
DATE = rf"^(\d{{4}}[-/.]{DAY}[-/.]{DAY}|{DAY}[-/.]{DAY}[-/.](\d{{2}}|\d{{4}}))([ T]\d{{1,2}}:\d{{2}}.*)?$"
#: Numbers that are names: with a zero before other digits, as in postal codes.
NAMED = r"^-?0\d"


@dataclasses.dataclass(frozen=True)
class Table:
    """A part of a table.

    Args:
        name: of its file, for messages.
        columns: name to its raw values, (rows,): float64 or int64, NaN where one is missing; or bytes, empty where one
            is.
        notes: column to what is odd about it.
        times: columns of dates and times, which have no raw values.
    """

    name: str
    columns: Mapping[str, np.ndarray]
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    times: Sequence[str] = ()

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def row(self, number: int) -> str:
        """Return what messages call a row, which is counted from 0: "houses.csv row 17", the first one being 1."""
        return f"{self.name} row {number + 1}"

    def kind(self, column: str) -> str:
        return "text" if self.columns[column].dtype == object else "number"


def fields(parts: Sequence[Table]) -> dict[str, Field]:
    """Return the fields of a table's parts, which have the same columns of the same kinds."""
    first = parts[0]
    described = {column: Field(kind=first.kind(column), names=_names(column, parts),  # type: ignore[arg-type]
                               note=next((part.notes[column] for part in parts if column in part.notes), ""))
                 for column in first.columns}
    return described | {column: Field(kind="time") for column in first.times}


def check(table: Table, first: Table) -> None:
    """Raise UserError where a part of a table does not have the columns of the first, of the same kinds."""
    for column in [*first.columns, *first.times]:
        if column not in table.columns and column not in table.times:
            raise UserError(f"data: {table.name} has no column {column}, which {first.name} has; it has "
                            f"{', '.join([*table.columns, *table.times])}")
    for column in first.columns:
        if column in table.times:
            raise UserError(f"data: {table.name} has dates or times in the column {column}; {first.name} has "
                            f"{'numbers' if first.kind(column) == 'number' else 'text'} there")
        if column in table.columns and table.kind(column) != first.kind(column) and first.kind(column) == "number":
            raise UserError(f"data: {table.notes.get(column) or f'{table.name} has words in the column {column}'}; "
                            f"{first.name} has numbers there")


def of_arrow(arrow: pa.Table, name: str, kinds: Mapping[str, str] = MappingProxyType({})) -> Table:
    """Return a table that Arrow has read.

    Texts that are all numbers are numbers, unless whole ones begin with a zero; truth values are the words true and
    false.

    Args:
        name: of the file.
        kinds: what columns are in another part, number or text: here they are the same, whatever their values look
            like, and a word among numbers is a mistake.

    Raises:
        UserError: there are no rows or columns, two columns have one name, a number is infinite, or a column is of a
            kind that no input can be made of.
    """
    _check_header(arrow, name)
    columns: dict[str, np.ndarray] = {}
    notes: dict[str, str] = {}
    times: list[str] = []
    for column in arrow.column_names:
        values = arrow.column(column).combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = pc.cast(values, values.type.value_type)
        if kinds.get(column) == "text" and not pa.types.is_temporal(values.type):
            columns[column] = _as_text(values)
        elif pa.types.is_temporal(values.type) or (column not in kinds and _are_dates(values)):
            times.append(column)
        elif _is_text(values):
            columns[column], notes[column] = _of_text(values, name, column, kinds.get(column) == "number")
        else:
            columns[column] = _of_values(values, name, column)
        if column in columns:
            _refuse_infinite(columns[column], name, column)
    if not columns:
        raise UserError(f"data: {name} has nothing but dates and times; turn them into numbers")
    table = Table(name, columns, {column: note for column, note in notes.items() if note}, times)
    return dataclasses.replace(table, columns=dict(_as_numbers(table, kinds)))


def _check_header(arrow: pa.Table, name: str) -> None:
    if not arrow.num_columns:
        raise UserError(f"data: {name} has no columns")
    names = arrow.column_names
    if "" in names:
        raise UserError(f"data: column {names.index('') + 1} of {name} has no name; give it one in the first line, or "
                        "take it out (what pandas writes without index=False is such a column)")
    repeated = next((column for position, column in enumerate(names) if column in names[:position]), None)
    if repeated is not None:
        raise UserError(f"data: {name} has two columns called {repeated}; give one of them another name")
    if not arrow.num_rows:
        raise UserError(f"data: {name} has a header and no rows; add rows below it")


def _as_numbers(table: Table, kinds: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the columns, those without any value that are numbers in another part as numbers."""
    for column, values in table.columns.items():
        empty = values.dtype == object and not any(values)
        yield column, np.full(len(values), np.nan) if empty and kinds.get(column) == "number" else values


def _is_text(values: pa.Array) -> bool:
    return pa.types.is_string(values.type) or pa.types.is_large_string(values.type)


def _are_dates(values: pa.Array) -> bool:
    if not _is_text(values) or values.null_count == len(values):
        return False
    known = values.drop_null()
    return bool(pc.match_substring_regex(known[:1], DATE)[0].as_py()) and bool(
        pc.all(pc.match_substring_regex(known, DATE)).as_py())


def _of_text(values: pa.Array, name: str, column: str, numeric: bool) -> tuple[np.ndarray, str]:
    """Return raw values out of texts, and what is odd about them.

    Args:
        numeric: whether the column has numbers in another part, where a zero in front makes none a name.
    """
    trimmed = _trimmed(values)
    known = trimmed.drop_null()
    named = not numeric and _are_names(known)
    if len(known) and not named:
        for kind in (pa.int64(), pa.float64()):
            try:
                return _numbers(pc.cast(trimmed, kind)), ""
            except pa.ArrowInvalid:
                continue
    note = "" if named else _mistake(pc.fill_null(trimmed, "").to_numpy(zero_copy_only=False), name, column)
    return _as_text(values), note


def _are_names(known: pa.Array) -> bool:
    """Return whether texts are whole numbers of which one begins with a zero, as postal codes."""
    if not pc.any(pc.match_substring_regex(known, NAMED)).as_py():
        return False
    return bool(pc.all(pc.match_substring_regex(known, r"^-?\d+$")).as_py())


def _trimmed(values: pa.Array) -> pa.Array:
    """Return texts without the white space around them, null where nothing is left."""
    trimmed = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, trimmed.type), trimmed)


def _as_text(values: pa.Array) -> np.ndarray:
    """Return values as bytes, empty where one is missing."""
    texts = values if _is_text(values) else pc.cast(values, pa.string())
    return np.array([text.encode() for text in pc.fill_null(_trimmed(texts), "").to_pylist()], object)


def _mistake(texts: np.ndarray, name: str, column: str) -> str:
    """Return where a text stands among numbers or dates; nothing where texts are what the column has."""
    known = sum(map(bool, texts))
    for others, is_one in (("numbers", is_number), ("dates", is_date)):
        wrong = [number for number, text in enumerate(texts) if text and not is_one(text)]
        if wrong and len(wrong) <= MISTAKES * known:
            more = f", and {len(wrong) - 1} more such rows" if len(wrong) > 1 else ""
            return f"{name} row {wrong[0] + 1}: {column} is {texts[wrong[0]]!r} among {others}{more}"
    return ""


def is_number(text: str) -> bool:
    """Return whether a text is a number in a table; 1_000 is none, which Python would read."""
    if "_" in text or not text.isascii():
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_date(text: str) -> bool:
    """Return whether a text is a date, with a time behind it or without."""
    return re.match(DATE, text) is not None


def _of_values(values: pa.Array, name: str, column: str) -> np.ndarray:
    """Return raw values out of Arrow's own types."""
    kind = values.type
    if pa.types.is_boolean(kind):
        words = {True: b"true", False: b"false", None: b""}
        return np.array([words[value] for value in values.to_pylist()], object)
    if pa.types.is_null(kind):
        return np.array([b""] * len(values), object)
    if pa.types.is_integer(kind):
        return _numbers(pc.cast(values, pa.int64(), safe=False))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(pc.cast(values, pa.float64()))
    raise UserError(f"data: the column {column} of {name} is {kind}; an input is a number, a word or a truth value. "
                    "Take it out of the file")


def _numbers(values: pa.Array) -> np.ndarray:
    """Return int64, or float64 with NaN where a number is missing."""
    if values.null_count:
        values = pc.cast(values, pa.float64(), safe=False)
        return np.array(pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False))
    return np.array(values.to_numpy(zero_copy_only=False))


def _refuse_infinite(values: np.ndarray, name: str, column: str) -> None:
    if values.dtype.kind == "f" and np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise UserError(f"data: {name} row {row + 1}: {column} is infinite; give a number, or leave it empty where it "
                        "is missing")


def _names(column: str, parts: Sequence[Table]) -> list[str] | None:
    """Return all values that a column takes, as text and in order; None where there are too many."""
    values = [part.columns[column] for part in parts if column in part.columns]
    if values[0].dtype == object:
        distinct: set[str] = set()
        for one in values:
            distinct |= {value.decode() for value in set(one.tolist()) if value}
            if len(distinct) > LISTED:
                return None
        return sorted(distinct)
    numbers = np.unique(np.concatenate([np.unique(one[one == one]) for one in values]))
    if len(numbers) > LISTED or (numbers != np.round(numbers)).any():
        return None
    return [str(int(number)) for number in numbers]
