"""Time series in memory, and how they are cut into windows whose targets lie in one part of the time each."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.index import Part

with epy.lazy_imports():
    import numpy as np

PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Series:
    """A series of one or several variables, at regular steps.

    Args:
        name: of the series, for messages.
        times: datetime64[s] (steps,), ascending; or int64, the steps' numbers, where there are no stamps.
        values: float64 (steps, columns), NaN where one is missing and was not filled in.
        filled: which of them are not measured but filled in, bool (steps, columns).
        labels: whether each step is out of the ordinary, bool (steps,); None where nobody has said it.
        zone: in which days begin, where the stamps are in UTC; nothing where they are as they were written.
    """

    name: str
    times: np.ndarray
    values: np.ndarray
    filled: np.ndarray
    labels: np.ndarray | None = None
    zone: str = ""

    def step(self, position: int) -> str:
        """Return what messages call a step: "co2 at 1958-05-10"."""
        return f"{self.name} at {shown(self.times[position])}"


@dataclasses.dataclass(frozen=True)
class Windows:
    """Where windows are in series, of which each takes `length` steps and aims at the `horizon` steps behind them.

    Args:
        starts: part to the first step of each window, counted over all series one behind the other, int64.
        owners: part to the number of its series, int64.
        length: steps that a model sees.
        horizon: steps behind them.
    """

    starts: dict[Part, np.ndarray]
    owners: dict[Part, np.ndarray]
    length: int
    horizon: int


def shown(time: np.generic) -> str:
    """Return a stamp as people write it, without a time of day of 00:00."""
    text = str(time)
    return text.removesuffix("T00:00:00")


def borders(series: Sequence[Series], validation: float | str, test: float | str) -> tuple[np.generic, np.generic]:
    """Return the stamps from which on steps are of the validation and of the test part.

    Args:
        validation, test: shares of all stamps, of which the last ones are of the test part; or the stamp itself.

    Raises:
        UserError: a part is empty, or they are not in order.
    """
    stamps = np.unique(np.concatenate([one.times for one in series]))
    count = len(stamps)
    last = count - round(test * count) if isinstance(test, float) else _position(stamps, test, "test")
    first = last - round(validation * count) if isinstance(validation, float) else _position(
        stamps, validation, "validation")
    if not 0 < first < last < count:
        raise UserError(f"data.source: {count:,} steps from {shown(stamps[0])} to {shown(stamps[-1])} do not divide "
                        f"into training, validation ({validation}) and test ({test}), one after the other; change "
                        "validation or test")
    return stamps[first], stamps[last]


def cut(series: Sequence[Series], length: int, horizon: int, targets: Sequence[int],
        ends: tuple[np.generic, np.generic], stride: int = 1) -> Windows:
    """Return the windows of all series: in training one at each step, else one every `stride` steps.

    All targets of a window lie in its part; what it sees before them may lie in the part before, which is known by
    then. A window is left out where one of its targets was not measured, a value that it sees is missing, or one of the
    newest that it sees was filled in, which may have been done by those behind it.

    Args:
        horizon: steps that are aimed at; 0 where nothing is, and the last step that is seen says the part.
        targets: columns that are aimed at.
        ends: see `borders`.
    """
    starts: dict[Part, list[np.ndarray]] = {part: [] for part in PARTS}
    owners: dict[Part, list[np.ndarray]] = {part: [] for part in PARTS}
    before = 0
    for number, one in enumerate(series):
        origins = np.arange(length, len(one.times) - horizon + 1)
        first, last = (origins, origins + horizon - 1) if horizon else (origins - 1, origins - 1)
        part_of = np.searchsorted(np.array(ends), one.times, side="right")
        absent = np.isnan(one.values)
        unmeasured = _sums((absent | one.filled)[:, list(targets)])
        unseen = _sums(absent)
        whole = (part_of[first] == part_of[last]) & (unseen[origins] == unseen[origins - length])
        if horizon:
            whole &= ~one.filled[origins - 1].any(axis=1)
            whole &= unmeasured[last + 1] == unmeasured[first]
        for place, part in enumerate(PARTS):
            own = origins[whole & (part_of[first] == place)]
            own = own if part == "train" else own[::stride]
            starts[part].append(before + own - length)
            owners[part].append(np.full(len(own), number))
        before += len(one.times)
    return Windows({part: np.concatenate(starts[part]).astype("int64") for part in PARTS},
                   {part: np.concatenate(owners[part]).astype("int64") for part in PARTS}, length, horizon)


def _sums(flags: np.ndarray) -> np.ndarray:
    """Return how many steps have a flag before each step, (steps + 1,)."""
    return np.concatenate([[0], np.cumsum(flags.any(axis=1))])


def scales(series: Sequence[Series], targets: Sequence[int], season: int, end: np.generic) -> np.ndarray:
    """Return what MASE divides errors by: the mean absolute change over a season before `end`, (series, targets).

    Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006, section 3. Of a series that has no
    change at all it is 1.
    """
    rows = []
    for one in series:
        known = np.where(one.filled, np.nan, one.values)[one.times < end][:, list(targets)]
        changes = np.abs(known[season:] - known[:-season])
        seen = ~np.isnan(changes)
        total = np.where(seen, changes, 0).sum(axis=0) / np.maximum(1, seen.sum(axis=0))
        rows.append(np.where(total > 0, total, 1.0))
    return np.array(rows)


def filled(series: Series, columns: Sequence[str], how: Literal["previous", "linear"] | None, most: int) -> Series:
    """Return a series whose gaps are filled in, as far as they are no longer than `most` steps.

    Args:
        columns: their names, for messages.
        how: by the value before a gap, or by the line between its neighbours; the first steps have none and stay
            missing. None refuses gaps.

    Raises:
        UserError: a value is missing and is not to be filled in, or is infinite.
    """
    values = series.values
    infinite = np.isinf(values).any(axis=1)
    if infinite.any():
        raise UserError(f"data: {series.step(int(np.argmax(infinite)))} has a value that is infinite; take it out")
    absent = np.isnan(values)
    if how is None and absent.any():
        position = int(np.argmax(absent.any(axis=1)))
        column = columns[int(np.argmax(absent[position]))]
        raise UserError(f"data: {series.step(position)} has no value of {column}, and {int(absent.any(axis=1).sum())} "
                        "steps lack one; say what stands for it with fill: previous or fill: linear")
    result = values.copy()
    for number in range(values.shape[1]):
        for first, behind in _gaps(absent[:, number]):
            if behind - first > most or not first or (how == "linear" and behind == len(values)):
                continue
            before = values[first - 1, number]
            after = values[behind, number] if how == "linear" else before
            steps = np.arange(1, behind - first + 1) / (behind - first + 1)
            result[first:behind, number] = before + (after - before) * steps
    return dataclasses.replace(series, values=result, filled=absent)


def cut_off(series: Series, steps: int) -> Series:
    """Return the first steps of a series."""
    labels = None if series.labels is None else series.labels[:steps]
    return dataclasses.replace(series, times=series.times[:steps], values=series.values[:steps],
                               filled=series.filled[:steps], labels=labels)


def _gaps(absent: np.ndarray) -> list[tuple[int, int]]:
    """Return the first step of each gap, and the one behind its last."""
    edges = np.diff(np.concatenate([[0], absent.astype(int), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def _position(stamps: np.ndarray, text: str, setting: str) -> int:
    try:
        border = np.datetime64(text) if stamps.dtype.kind == "M" else int(text)
    except ValueError:
        raise UserError(f"data.source.{setting} is {text!r}, which is neither a share nor a stamp like "
                        f"{shown(stamps[-1])}") from None
    return int(np.searchsorted(stamps, border))
