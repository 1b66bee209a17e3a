"""What a stamp says: the time of the day, of the week and of the year, as numbers that models can learn from."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.sources.series import Series

with epy.lazy_imports():
    import numpy as np
    import pandas as pd

#: Each is a point on a circle, so that the end of a year, a week or a day is beside its beginning.
Feature = Literal["time_of_day", "day_of_week", "day_of_year"]
DAY = 24 * 3600
#: A year's seconds, leap years among them.
YEAR = 365.2425 * DAY
#: Seconds after which each begins again; 1970-01-01 was a Thursday, three days after a Monday.
PERIODS: dict[str, tuple[float, float]] = {"time_of_day": (0, DAY), "day_of_week": (3 * DAY, 7 * DAY),
                                           "day_of_year": (0, YEAR)}


def names(features: Sequence[Feature]) -> list[str]:
    """Return what the columns of calendar features are called."""
    return [f"{feature}_{part}" for feature in features for part in ("sin", "cos")]


def beside(series: Series, known: Sequence[int], features: Sequence[Feature]) -> np.ndarray:
    """Return what is known ahead at each step, (steps, covariates): columns of a series, then the calendar.

    Raises:
        UserError: a covariate is missing, or there are no stamps.
    """
    columns = series.values[:, list(known)]
    if np.isnan(columns).any():
        position = int(np.flatnonzero(np.isnan(columns).any(axis=1))[0])
        raise UserError(f"data: {series.step(position)} lacks a value of a column that is known ahead; fill it in")
    return np.concatenate([columns, of_stamps(series.times, features, series.zone)], axis=1)


def of_stamps(times: np.ndarray, features: Sequence[Feature], zone: str = "") -> np.ndarray:
    """Return calendar features, (steps, 2 * features): sine and cosine of how far each period has gone.

    Args:
        times: datetime64 (steps,).
        zone: to which stamps in UTC are brought first.

    Raises:
        UserError: they are not stamps.
    """
    if features and times.dtype.kind != "M":
        raise UserError("data.source.calendar: the steps have numbers and no stamps; leave calendar out")
    if zone and times.dtype.kind == "M":
        times = pd.DatetimeIndex(times).tz_localize("UTC").tz_convert(zone).tz_localize(None).to_numpy()
    columns = []
    for feature in features:
        offset, period = PERIODS[feature]
        seconds = times.astype("datetime64[s]").astype("int64") + offset
        angle = 2 * np.pi * (seconds % period) / period
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(times), 0))
