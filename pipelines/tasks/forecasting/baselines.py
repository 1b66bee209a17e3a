"""What simple forecasts are worth at the same steps: the last value, the last season, and exponential smoothing."""
from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from etils import epy

from export.targets import tools
from pipelines.errors import UserError
from pipelines.ingest.sources import series as series_in_memory
from pipelines.ingest.sources.series_source import FUTURE, SCALE, Cut, SeriesSource
from pipelines.tasks.forecasting.measure import ForecastMeasure

with epy.lazy_imports():
    import numpy as np
    from statsmodels.tsa.exponential_smoothing import ets

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

EXTRA = "series"
BASELINES = ("naive", "seasonal_naive", "exponential_smoothing")
#: A season is estimated from no fewer than so many of them, and not of more steps than this.
FEWEST_SEASONS, LONGEST_SEASON = 3, 120


def measured(data: Data) -> dict[str, dict[str, float]]:
    """Return the metrics of the baselines, by their names: at the origins of the test split, each given all that is
    known by then.

    Raises:
        UserError: statsmodels is not installed.
    """
    if missing := tools.missing(EXTRA):
        raise UserError(f"exponential smoothing, which forecasts are measured beside, is statsmodels': {missing}")
    source = data.section.source
    assert isinstance(source, SeriesSource)
    cut = source.cut()
    forecasts = {name: np.zeros((0, source.horizon, len(cut.targets))) for name in BASELINES}
    truths, scales = [], []
    for owner, origins in _origins(cut):
        known = _known(cut, owner)
        by_name = {"naive": seasonal_naive(known, origins, source.horizon, 1),
                   "seasonal_naive": seasonal_naive(known, origins, source.horizon, source.season),
                   "exponential_smoothing": np.stack([smoothed(known[:, column], origins, source.horizon, source.season)
                                                      for column in range(known.shape[1])], axis=-1)}
        forecasts = {name: np.concatenate([forecasts[name], by_name[name]]) for name in BASELINES}
        values = cut.series[owner].values[:, list(cut.targets)]
        truths.append(np.stack([values[origin:origin + source.horizon] for origin in origins]))
        scales.append(np.tile(cut.scale[owner], (len(origins), 1)))
    targets = {FUTURE: np.concatenate(truths), SCALE: np.concatenate(scales)}
    result = {}
    for name, values in forecasts.items():
        measure = ForecastMeasure()
        measure.add(targets, {measure.forecast: values})
        result[name] = measure.result().metrics
    return result


def seasonal_naive(values: np.ndarray, origins: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Return the values a season before, the last known ones again and again, (origins, horizon, columns).

    Args:
        values: (steps, columns).
        origins: the first steps that are forecast.
        season: in steps; 1 repeats the last value.
    """
    back = season - np.arange(horizon) % season
    return values[np.maximum(0, np.asarray(origins)[:, None] - back)]


def smoothed(values: np.ndarray, origins: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Return the forecasts of exponential smoothing, (origins, horizon).

    Of the models with additive errors, with no trend, a damped or a linear one, with or without an additive season,
    that with the least AICc on what is known before the first origin (Hyndman and Khandakar 2008); its smoothing goes
    on over later values, with the parameters that it has.

    Args:
        values: (steps,), none of them missing.
    """
    first = int(np.min(origins))
    with _quiet():
        settings, parameters = min((_fitted(values[:first], *chosen) for chosen in _choices(first, season)),
                                   key=lambda one: one[0])[1:]
        states = ets.ETSModel(values, **settings).smooth(parameters)
        return np.stack([np.asarray(states.predict(start=int(origin), end=int(origin) + horizon - 1, dynamic=0))
                         for origin in origins])


def _choices(known: int, season: int) -> Iterator[tuple[str | None, int]]:
    """Give each trend with each length of a season that can be estimated."""
    can = 1 < season <= LONGEST_SEASON and known >= FEWEST_SEASONS * season
    return itertools.product((None, "damped", "linear"), (0, season) if can else (0,))


def _fitted(values: np.ndarray, trend: str | None, season: int) -> tuple[float, dict[str, Any], np.ndarray]:
    """Return the AICc of a model, its settings and its parameters."""
    settings: dict[str, Any] = {"error": "add", "trend": "add" if trend else None, "damped_trend": trend == "damped",
                                "seasonal": "add" if season else None, "seasonal_periods": season or None,
                                "initialization_method": "estimated"}
    model = ets.ETSModel(values, **settings)
    result = model.fit(disp=False)
    start = {"initialization_method": "known", "initial_level": result.initial_level}
    if trend:
        start["initial_trend"] = result.initial_trend
    if season:
        start["initial_seasonal"] = result.initial_seasonal
    smoothing = 1 + bool(trend) + (trend == "damped") + bool(season)
    return float(result.aicc), settings | start, np.asarray(result.params)[:smoothing]


def _origins(cut: Cut) -> Iterator[tuple[int, np.ndarray]]:
    """Give each series that is tested on, by its number, with the first steps of its test windows' targets."""
    lengths = [len(one.times) for one in cut.series]
    before = np.concatenate([[0], np.cumsum(lengths)])
    starts, owners = cut.windows.starts["test"], cut.windows.owners["test"]
    for owner in np.unique(owners).tolist():
        yield owner, starts[owners == owner] - before[owner] + cut.windows.length


def _known(cut: Cut, owner: int) -> np.ndarray:
    """Return a series' targets with every gap filled in by the value before it, (steps, targets); what is missing at
    the start by the first value."""
    one = cut.series[owner]
    whole = series_in_memory.filled(one, cut.columns, "previous", len(one.times))
    values = whole.values[:, list(cut.targets)]
    first = values[np.argmax(~np.isnan(values), axis=0), np.arange(values.shape[1])]
    return np.where(np.isnan(values), first, values)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep statsmodels' remarks on convergence away from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
