"""Stamps of time: read, brought to one zone, and to steps of one length."""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from etils import epy

from export.errors import first_line
from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np
    import pandas as pd

#: How a recipe writes the length of a step.
STEP = r"^(\d*(s|min|h|D|W)|month|quarter|year)$"
#: Steps of the calendar, as pandas calls what begins with them.
CALENDAR = {"month": "MS", "quarter": "QS", "year": "YS"}
#: An offset from UTC behind a time.
OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"
Duplicates = Literal["mean", "sum", "first", "last"]


def read(values: Sequence[str] | np.ndarray, name: str, written: str | None, zone: str | None) -> np.ndarray:
    """Return stamps, datetime64[s] (rows,): those with an offset in UTC, others as they are written, or, in a zone, in
    UTC too.

    Args:
        values: texts as in ISO 8601, or stamps.
        name: of the file, for messages.
        written: how texts are written, as strptime has it.
        zone: of stamps without an offset, for instance Europe/Berlin.

    Raises:
        UserError: one is missing or cannot be read, some have an offset and others have none, or one does not occur, or
            occurs twice, in the zone.
    """
    texts = pd.Series(np.asarray(values))
    if texts.isna().any() or (texts.astype(str).str.strip() == "").any():
        row = int((texts.isna() | (texts.astype(str).str.strip() == "")).to_numpy().argmax())
        raise UserError(f"data: {name} row {row + 1} has no stamp; fill it in, or take the row out")
    if texts.dtype.kind != "M" and not isinstance(texts.dtype, pd.DatetimeTZDtype):
        texts = _parsed(texts.astype(str).str.strip(), name, written)
    if texts.dt.tz is not None:
        return texts.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    if zone is None:
        return texts.to_numpy().astype("datetime64[s]")
    try:
        local = texts.dt.tz_localize(zone, ambiguous="raise", nonexistent="raise")
    except Exception as error:  # of pandas' and of the zone's library, whatever its version
        raise UserError(f"data: {name}: a stamp cannot be told apart in the zone {zone} "
                        f"({first_line(error)}); write stamps with their offset, as "
                        "2024-03-31T02:30:00+02:00") from None
    return local.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[s]")


def regular(frame: Any, name: str, step: str | None, duplicates: Duplicates | None) -> Any:
    """Return a pandas frame with a row at each step, ascending, NaN where there was none.

    Args:
        frame: columns of numbers under an index of stamps, in any order.
        name: of the series, for messages.
        step: its length; by default the one that occurs most often.
        duplicates: what becomes of rows with one stamp.

    Raises:
        UserError: a stamp occurs twice, or lies between two steps.
    """
    frame = frame.sort_index(kind="stable")
    repeated = frame.index[frame.index.duplicated()]
    if len(repeated):
        if duplicates is None:
            raise UserError(f"data: {name} has the stamp {_shown(repeated[0])} twice, and {len(repeated):,} rows "
                            "repeat one; take them out, or say what they become with duplicates: mean, sum, first or "
                            "last")
        grouped = frame.groupby(level=0, sort=True)
        frame = grouped.sum(min_count=1) if duplicates == "sum" else getattr(grouped, duplicates)()
    if step is not None:
        return frame.resample(CALENDAR.get(step, step)).mean()
    if len(frame) < 3:
        return frame
    steps = frame.index.to_numpy()
    every = _calendar_step(steps)
    whole = pd.date_range(steps[0], steps[-1], freq=every) if isinstance(every, str) else pd.DatetimeIndex(
        np.arange(steps[0], steps[-1] + every, every))
    between = frame.index.difference(whole)
    if len(between):
        usual = every if isinstance(every, str) else pd.Timedelta(every)
        raise UserError(f"data: {name} has steps of {usual} mostly, and the stamp {_shown(between[0])} lies between "
                        f"two of them, as {len(between) - 1:,} more do; say the length of a step, as in step: 1h, and "
                        "means are taken over it")
    return frame.reindex(whole)


def extended(times: np.ndarray, count: int) -> np.ndarray:
    """Return stamps with `count` more behind them, as far apart as the last two: whole months where those are."""
    if count <= 0:
        return times
    if times.dtype.kind != "M":
        return np.concatenate([times, times[-1] + np.arange(1, count + 1)])
    months = times.astype("datetime64[M]")
    if len(times) > 1 and (times[-1] - months[-1]) == (times[-2] - months[-2]) and months[-1] - months[-2]:
        ahead = months[-1] + np.arange(1, count + 1) * (months[-1] - months[-2])
        return np.concatenate([times, ahead.astype(times.dtype) + (times[-1] - months[-1].astype(times.dtype))])
    every = times[-1] - times[-2] if len(times) > 1 else np.timedelta64(1, "D")
    return np.concatenate([times, times[-1] + np.arange(1, count + 1) * every])


def _parsed(texts: Any, name: str, written: str | None) -> Any:
    offsets = texts.str.contains(OFFSET, regex=True) & texts.str.contains(":")
    if offsets.any() and not offsets.all():
        row = int((~offsets).to_numpy().argmax())
        raise UserError(f"data: {name} row {row + 1}: {texts.iloc[row]!r} has no offset from UTC, and other stamps "
                        "have one; write all of them alike")
    try:
        return pd.to_datetime(texts, format=written or "ISO8601", utc=bool(offsets.all()))
    except ValueError:
        read = pd.to_datetime(texts, format=written or "ISO8601", utc=bool(offsets.all()), errors="coerce")
        row = int(read.isna().to_numpy().argmax())
        hint = f"which is not written as {written}" if written else (
            "which is not a stamp like 2024-05-31 or 2024-05-31T12:00; say how it is written with format, as in "
            "format: '%d/%m/%Y'")
        raise UserError(f"data: {name} row {row + 1} has the time {texts.iloc[row]!r}, {hint}") from None


def _calendar_step(steps: np.ndarray) -> Any:
    """Return the step that occurs most often: a timedelta64, or pandas' word for months, quarters or years."""
    months = steps.astype("datetime64[M]")
    if (steps == months.astype(steps.dtype)).all():
        numbers, counts = np.unique(np.diff(months).astype(int), return_counts=True)
        usual = int(numbers[counts.argmax()])
        if usual in (1, 3, 12):
            return {1: "MS", 3: "3MS", 12: "12MS"}[usual]
    differences, counts = np.unique(np.diff(steps), return_counts=True)
    return differences[counts.argmax()]


def is_step(text: str) -> bool:
    """Return whether a recipe may write the length of a step so."""
    return re.match(STEP, text) is not None


def _shown(stamp: Any) -> str:
    return str(stamp).removesuffix(" 00:00:00")
