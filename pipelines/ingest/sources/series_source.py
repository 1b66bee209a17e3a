"""Sources whose examples are windows of time series: what has been seen, and what came behind it."""
from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from etils import epy
from pydantic import BeforeValidator
from pydantic import Field as Setting

from pipelines.entries import nearest
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources import calendar as calendars
from pipelines.ingest.sources import series
from pipelines.ingest.sources.series import Series, Windows
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: The fields of an example.
PAST, KNOWN, FUTURE, SCALE, LABEL = "past", "known", "future", "scale", "label"


def _one_or_several(one: Any) -> BeforeValidator:
    return BeforeValidator(lambda value: (value,) if isinstance(value, str) else value,
                           json_schema_input_type=one | tuple[one, ...])


#: A name, or several.
Names = Annotated[tuple[str, ...], _one_or_several(str)]
Calendar = Annotated[tuple[calendars.Feature, ...], _one_or_several(calendars.Feature)]
Share = Annotated[float, Setting(gt=0, lt=1)]


@dataclasses.dataclass(frozen=True)
class Cut:
    """Series that have been cut into windows.

    Args:
        series: one or several with the same columns.
        columns: their names.
        targets, known: positions of those that are forecast, and of those that are known ahead.
        covariates: what is known ahead at each step, calendar features among it, float64 (all steps, covariates).
        names: of the covariates.
        ends: stamps with which validation and test begin.
        windows: of all series.
        scale: see `series.scales`.
    """

    series: Sequence[Series]
    columns: Sequence[str]
    targets: Sequence[int]
    known: Sequence[int]
    covariates: np.ndarray
    names: Sequence[str]
    ends: tuple[np.generic, np.generic]
    windows: Windows
    scale: np.ndarray

    @property
    def seen(self) -> list[int]:
        """Return the columns that a model sees up to now, those that it forecasts first."""
        aside = {*self.targets, *self.known}
        return [*self.targets, *(position for position in range(len(self.columns)) if position not in aside)]


class SeriesSource(Source):
    """What sources of series have in common: an example is a window, split by time.

    Its fields are `past`, (window, variables); `known`, (window + horizon, covariates), where something is known ahead;
    `future`, (horizon, targets); `scale`, what MASE divides the errors of each target by; and `label`, whether the
    window's last step is out of the ordinary, where a column says so.

    Args:
        window: steps that a model sees.
        horizon: steps behind them that it forecasts.
        target: the variable to forecast, or several; all where not given.
        known: columns that are known ahead, such as holidays and prices, and calendar features of the stamps.
        season: steps after which the series is alike, for the seasonal naive forecast and for MASE.
        stride: steps between two windows of validation and test; in training one begins at each step.
        fill: what stands for a missing value: the one before it (previous), or the line between its neighbours
            (linear); where not given, a missing value is refused. A window aims at none that was filled in.
        max_gap: steps in a row that are filled in, at most; windows that see a longer gap are left out.
        validation, test: the last share of all stamps that is held out, or the stamp with which the part begins.
    """

    window: int = Setting(24, ge=1)
    horizon: int = Setting(1, ge=0)
    target: Names = ()
    known: Names = ()
    calendar: Calendar = ()
    season: int = Setting(1, ge=1)
    stride: int = Setting(1, ge=1)
    fill: Literal["previous", "linear"] | None = None
    max_gap: int = Setting(5, ge=1)
    validation: Share | str = 0.1
    test: Share | str = 0.2

    def series(self) -> tuple[Sequence[str], Sequence[Series]]:
        """Return the names of the columns, and the series as they are, gaps not filled in. Raises UserError."""
        raise NotImplementedError

    def cut(self) -> Cut:
        """Return the series cut into windows, kept until they change. Raises UserError."""
        return _cut(self.fingerprint(), self)

    def fields(self) -> dict[str, Field]:
        cut = self.cut()
        width, ahead = len(cut.seen), cut.covariates.shape[1]
        described = {PAST: _array([cut.columns[column] for column in cut.seen], self.window, width)}
        if ahead:
            described[KNOWN] = _array(list(cut.names), self.window + self.horizon, ahead)
        if self.horizon:
            described[FUTURE] = _array([cut.columns[column] for column in cut.targets], self.horizon, len(cut.targets))
            described[SCALE] = Field(kind="array", shape=(len(cut.targets),), dtype="float32")
        if cut.series[0].labels is not None:
            described[LABEL] = Field(kind="class", names=["ordinary", "anomaly"])
        return described

    def parts(self) -> list[Part]:
        return list(series.PARTS)

    def size(self, part: Part) -> int | None:
        return len(self.cut().windows.starts[part])

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the windows of a part, series by series, in the order of time; an example's id is its series and the
        stamp of the first step behind what is seen, or of the last one where nothing is forecast."""
        cut = self.cut()
        count = len(cut.windows.starts[part])
        taken = np.arange(count) if positions is None else np.asarray(positions, int)
        taken = taken[taken < count]
        starts, owners = cut.windows.starts[part][taken], cut.windows.owners[part][taken]
        values = tf.constant(np.concatenate([one.values for one in cut.series]), tf.float32)
        ahead = tf.constant(cut.covariates, tf.float32)
        labels = tf.constant(np.concatenate([np.zeros(0, bool) if one.labels is None else one.labels
                                             for one in cut.series]), tf.int64)
        scale = tf.constant(cut.scale, tf.float32)
        window, horizon, width = self.window, self.horizon, len(cut.columns)

        def window_at(start: tf.Tensor, owner: tf.Tensor, name: tf.Tensor) -> dict[str, tf.Tensor]:
            steps = tf.ensure_shape(values[start:start + window + horizon], (window + horizon, width))
            example = {PAST: tf.gather(steps[:window], cut.seen, axis=1)}
            if cut.covariates.shape[1]:
                example[KNOWN] = tf.ensure_shape(ahead[start:start + window + horizon],
                                                 (window + horizon, cut.covariates.shape[1]))
            if horizon:
                example[FUTURE] = tf.gather(steps[window:], list(cut.targets), axis=1)
                example[SCALE] = scale[owner]
            if cut.series[0].labels is not None:
                example[LABEL] = labels[start + window - 1]
            return {**example, "id": name}

        names = tf.constant([self._name(cut, start, owner) for start, owner in zip(
            starts.tolist(), owners.tolist(), strict=True)], tf.string)
        return tf.data.Dataset.from_tensor_slices((starts, owners, names)).map(window_at)

    def described(self) -> list[str]:
        """Return from when to when the parts are, and how many windows there are, a line."""
        cut = self.cut()
        first = min(one.times[0] for one in cut.series)
        begins = [first, *cut.ends]
        listed = ", ".join(f"{part} from {series.shown(begin)}"
                           for part, begin in zip(series.PARTS, begins, strict=True))
        count = f"{len(cut.series)} series" if len(cut.series) > 1 else cut.series[0].name
        return [f"{count}: {listed}; windows of {self.window} steps and {self.horizon} ahead"]

    def _name(self, cut: Cut, start: int, owner: int) -> str:
        before = sum(len(one.times) for one in cut.series[:owner])
        return cut.series[owner].step(start - before + self.window - (0 if self.horizon else 1))


def _array(names: list[str], steps: int, width: int) -> Field:
    return Field(kind="array", names=names, shape=(steps, width), dtype="float32")


@functools.lru_cache(maxsize=4)
def _cut(version: str, source: SeriesSource) -> Cut:
    columns, raw = source.series()
    targets = _positions(source, "target", source.target, columns)
    known = _positions(source, "known", source.known, columns)
    targets = targets or [position for position in range(len(columns)) if position not in known]
    if shared := [columns[position] for position in targets if position in known]:
        raise UserError(f"data.source.{source.entry_name}: {shared[0]} is both forecast and known ahead; take it "
                        "out of target or of known")
    needed = source.window + source.horizon
    for one in raw:
        if len(one.times) < needed:
            raise UserError(f"data.source.{source.entry_name}: {one.name} has {len(one.times)} steps, and a window of "
                            f"{source.window} and a horizon of {source.horizon} need {needed}; give a smaller window")
    whole = [series.filled(one, columns, source.fill, source.max_gap) for one in raw]
    ends = series.borders(whole, source.validation, source.test)
    windows = series.cut(whole, source.window, source.horizon, targets, ends, source.stride)
    for part, starts in windows.starts.items():
        if not len(starts):
            raise UserError(f"data.source.{source.entry_name}: no window of {source.window} steps and a horizon of "
                            f"{source.horizon} lies in the {part} part, which is from {_between(part, whole, ends)}; "
                            "give smaller ones, or a larger part")
    covariates = np.concatenate([calendars.beside(one, known, source.calendar) for one in whole])
    names = [*(columns[position] for position in known), *calendars.names(source.calendar)]
    return Cut(whole, columns, targets, known, covariates, names, ends, windows,
               series.scales(whole, targets, source.season, ends[0]))


def _positions(source: SeriesSource, setting: str, names: Sequence[str], columns: Sequence[str]) -> list[int]:
    for name in names:
        if name not in columns:
            near = nearest(name, columns)
            raise UserError(f"data.source.{source.entry_name}.{setting}: there is no column {name}; "
                            + (f"did you mean {near}?" if near else f"there are {', '.join(columns)}"))
    return [list(columns).index(name) for name in names]


def _between(part: Part, whole: Sequence[Series], ends: tuple[np.generic, np.generic]) -> str:
    first = min(one.times[0] for one in whole)
    last = max(one.times[-1] for one in whole)
    edges = [first, *ends, last]
    place = series.PARTS.index(part)
    return f"{series.shown(edges[place])} to {series.shown(edges[place + 1])}"
