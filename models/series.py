"""Series as inputs of a model, and what it says of them as its outputs."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np

#: What a model takes off each window and gives back to its forecast: nothing, the window's last step, its mean, or its
#: mean and its deviation (Kim et al., "Reversible Instance Normalization", 2022, without weights).
Level = Literal["none", "last", "mean", "standard"]
FORECAST = "forecast"
#: What a window's variance is at least, in the training data's.
LEAST = 1e-4


@dataclasses.dataclass(frozen=True)
class Series:
    """What a model sees of series, and what it has to say.

    Args:
        window: steps that it sees.
        means, deviations: of the variables that it sees, in the training data; those that it forecasts come first.
        horizon: steps that it forecasts.
        targets: variables that it forecasts.
        quantiles: of each forecast; 0 where it is one number.
        known_means, known_deviations: of the covariates that are known ahead.
        classes: of whole series, where it tells them apart and forecasts nothing.
        name: of the input that has what it sees.
    """

    window: int
    means: Sequence[float] = (0.0,)
    deviations: Sequence[float] = (1.0,)
    horizon: int = 1
    targets: int = 1
    quantiles: int = 0
    known_means: Sequence[float] = ()
    known_deviations: Sequence[float] = ()
    classes: int = 0
    name: str = "past"

    def __str__(self) -> str:
        return f"{self.window} steps of {len(self.means)} variables"

    @property
    def numbers(self) -> int:
        """Return how many numbers a model has to say about each step ahead."""
        return self.targets * max(1, self.quantiles)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The inputs of a model of series.

    Args:
        given: what goes into `keras.Model`.
        past: standardized, less the level, float32 (batch, window, variables).
        level: what was taken off, standardized, (batch, 1, variables); None where nothing was.
        spread: what was divided by then, (batch, 1, variables); None where nothing was.
        known: standardized covariates, float32 (batch, window + horizon, covariates); None where there are none.
    """

    given: dict[str, Any]
    past: Any
    level: Any
    spread: Any
    known: Any


def inputs(series: Series, level: Level = "none") -> Inputs:
    """Return the inputs of a model, standardized within it: (x - mean) / deviation, variable by variable.

    A value that is missing, NaN, counts as the mean.
    """
    past = keras.Input((series.window, len(series.means)), name=series.name)
    given = {series.name: past}
    x = _standardized(past, series.means, series.deviations)
    known = None
    if series.known_means:
        given["known"] = keras.Input((series.window + series.horizon, len(series.known_means)), name="known")
        known = _standardized(given["known"], series.known_means, series.known_deviations)
    if level == "none":
        return Inputs(given, x, None, None, known)
    taken = x[:, -1:, :] if level == "last" else keras.ops.mean(x, axis=1, keepdims=True)
    x = x - taken
    if level != "standard":
        return Inputs(given, x, taken, None, known)
    spread = keras.ops.sqrt(keras.ops.mean(x * x, axis=1, keepdims=True) + LEAST)
    return Inputs(given, x / spread, taken, spread, known)


def with_known(taken: Inputs, series: Series) -> Any:
    """Return what is seen at each step with the covariates of the same step behind it, (batch, window, features)."""
    if taken.known is None:
        return taken.past
    return keras.layers.Concatenate(name="seen")([taken.past, taken.known[:, :series.window]])


def answer(x: Any, taken: Inputs, series: Series) -> dict[str, Any]:
    """Return a model's output `forecast`, in the units of the data: (batch, horizon, targets), or of quantiles
    (batch, horizon, targets, quantiles).

    What is known of the steps ahead adds a linear part of its own, the same for each step.

    Args:
        x: standardized, less the level: (batch, horizon, targets x quantiles), the quantiles of a target side by side.
    """
    if taken.known is not None:
        ahead = keras.layers.Dense(series.numbers, use_bias=False, name="ahead")(taken.known[:, series.window:])
        # added in a row: of a dense layer, a reshape to steps and an addition TensorFlow's converter makes nonsense
        row = keras.layers.Reshape((series.horizon * series.numbers,))
        x = keras.layers.Reshape((series.horizon, series.numbers))(row(x) + row(ahead))
    each = max(1, series.quantiles)
    means, deviations = (np.repeat(np.array(values[:series.targets], "float32"), each)
                         for values in (series.means, series.deviations))
    if taken.spread is not None:
        x = x * _of_targets(taken.spread, series)
    if taken.level is not None:
        x = x + _of_targets(taken.level, series)
    x = x * deviations + means
    shape = (series.horizon, series.targets, *([each] if series.quantiles else []))
    return {FORECAST: keras.layers.Reshape(shape, name=FORECAST)(x)}


def head(x: Any, taken: Inputs, series: Series) -> dict[str, Any]:
    """Return a model's outputs out of what it makes of a window, (batch, features): `logits` (batch, classes) of
    classes, else `forecast`, see `answer`."""
    if series.classes:
        return {"logits": keras.layers.Dense(series.classes, name="logits")(x)}
    steps = keras.layers.Dense(series.horizon * series.numbers, name="steps")(x)
    return answer(keras.layers.Reshape((series.horizon, series.numbers))(steps), taken, series)


def _of_targets(values: Any, series: Series) -> Any:
    """Return numbers of each variable, (batch, 1, variables), for each number to say, (batch, 1, numbers)."""
    of_targets = values[:, :, :series.targets]
    return keras.ops.repeat(of_targets, series.quantiles, axis=2) if series.quantiles > 1 else of_targets


def _standardized(values: Any, means: Sequence[float], deviations: Sequence[float]) -> Any:
    scaled = (values - np.array(means, "float32")) * (1 / np.array(deviations, "float32"))
    # the choice comes last: a difference and a product would be fused into a dense layer that follows
    return keras.ops.where(keras.ops.not_equal(scaled, scaled), np.float32(0), scaled)
