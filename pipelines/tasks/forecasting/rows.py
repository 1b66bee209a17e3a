"""The end of a user's own series, as a forecaster takes it."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.index import Index
from pipelines.ingest.sources import calendar as calendars
from pipelines.ingest.sources import series, stamps
from pipelines.ingest.sources.series import Series
from pipelines.ingest.sources.series_source import KNOWN, PAST, SeriesSource
from pipelines.ingest.sources.series_table import SeriesTable, first_column

with epy.lazy_imports():
    import numpy as np


def read(path: Path, index: Index, like: SeriesSource) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return what is forecast of each series in a CSV or Parquet file, by its first stamp, and the last window of each.

    A window ends with the last step that has all variables. What is known ahead must be there for the steps behind it;
    calendar features are made.

    Args:
        like: the source that the model learnt from: of tables it says how a file is written.

    Raises:
        UserError: the file cannot be read, lacks a variable, or a series is too short or has a gap that is not filled
            in.
    """
    source = table_like(path, like)
    columns, all_series = source.series()
    seen = positions(columns, index.fields[PAST].names or [], path)
    ahead = positions(columns, like.known, path)
    names: list[str] = []
    pasts: list[np.ndarray] = []
    covariates: list[np.ndarray] = []
    for one in all_series:
        behind = _behind_last(one, seen, like.window)
        before = series.cut_off(one, behind)
        whole = series.filled(before, columns, like.fill, like.max_gap)
        past = whole.values[behind - like.window:, seen]
        if np.isnan(past).any():
            raise UserError(f"{path}: {one.name} has a gap of more than {like.max_gap} steps among its last "
                            f"{like.window}; fill it in")
        times = stamps.extended(one.times, behind + like.horizon - len(one.times))
        names.append(f"{one.name} from {series.shown(stamps.extended(before.times, 1)[behind])}")
        pasts.append(past)
        if KNOWN in index.inputs:
            covariates.append(_covariates(one, times, ahead, behind, like))
    inputs = {PAST: np.stack(pasts).astype("float32")}
    return names, inputs | ({KNOWN: np.stack(covariates).astype("float32")} if covariates else {})


def table_like(path: Path, like: SeriesSource) -> SeriesTable:
    """Return the source of a user's file: written as the one that a model learnt from where that is a table; else with
    its stamps in the first column."""
    if isinstance(like, SeriesTable):
        return like.model_copy(update={"path": str(path), "columns": (), "label": None})
    return SeriesTable(path=str(path), time=first_column(path))


def positions(columns: Sequence[str], names: Sequence[str], path: Path) -> list[int]:
    """Return where columns are. Raises UserError where one is not there."""
    if absent := [name for name in names if name not in columns]:
        raise UserError(f"{path} has no column {absent[0]}, which the model sees; it has {', '.join(columns)}")
    return [list(columns).index(name) for name in names]


def _behind_last(one: Series, seen: Sequence[int], window: int) -> int:
    """Return the step behind the last one that has all variables. Raises UserError where fewer than a window are."""
    whole = np.flatnonzero(~np.isnan(one.values[:, list(seen)]).any(axis=1))
    behind = int(whole[-1]) + 1 if len(whole) else 0
    if behind < window:
        raise UserError(f"{one.name} has {behind} steps, and the model sees {window}: give it more of the series")
    return behind


def _covariates(one: Series, times: np.ndarray, ahead: Sequence[int], behind: int, like: SeriesSource) -> np.ndarray:
    """Return what is known of a window and of the steps behind it, (window + horizon, covariates). Raises UserError
    where it is missing."""
    first, last = behind - like.window, behind + like.horizon
    known = dataclasses.replace(one, values=one.values[:, list(ahead)])
    if like.fill is not None:
        known = series.filled(known, like.known, like.fill, like.max_gap)
    columns = known.values[first:last]
    if ahead and (len(columns) < last - first or np.isnan(columns).any()):
        raise UserError(f"{one.name}: {', '.join(like.known)} must be there for the {like.horizon} steps behind the "
                        "last one with all variables; add rows that have them and the stamp alone")
    features = calendars.of_stamps(times[first:last], like.calendar, one.zone)
    return np.concatenate([columns, features], axis=1) if ahead else features
