"""A user's own series, window by window."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.index import Index
from pipelines.ingest.sources import series
from pipelines.ingest.sources.series_source import PAST, SeriesSource
from pipelines.tasks.forecasting.rows import positions, table_like

with epy.lazy_imports():
    import numpy as np


def read(path: Path, index: Index, like: SeriesSource) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return what each window of the series in a CSV or Parquet file is called, by its last stamp, and the windows.

    Args:
        like: the source that the model learnt from: of tables it says how a file is written.

    Raises:
        UserError: the file cannot be read, lacks a variable, or no series has a whole window.
    """
    columns, all_series = table_like(path, like).series()
    seen = positions(columns, index.fields[PAST].names or [], path)
    names: list[str] = []
    windows: list[np.ndarray] = []
    for one in all_series:
        values = series.filled(one, columns, like.fill, like.max_gap).values[:, seen]
        for last in range(like.window - 1, len(values)):
            window = values[last - like.window + 1:last + 1]
            if not np.isnan(window).any():
                names.append(one.step(last))
                windows.append(window)
    if not windows:
        raise UserError(f"{path}: no series has the {like.window} steps without a gap that the model sees")
    return names, {PAST: np.stack(windows).astype("float32")}
