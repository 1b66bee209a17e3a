"""DLinear."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import series as windows
from models.registry import register
from models.series import Level, Series

with epy.lazy_imports():
    import keras


@register("dlinear", task="forecasting", paper="https://arxiv.org/abs/2205.13504",
          at={"series": Series(window=336, means=(0.0,) * 7, deviations=(1.0,) * 7, horizon=96, targets=7)})
def dlinear(series: Series, *, kernel: Annotated[int, Field(ge=1)] = 25,
            level: Level = "none") -> keras.Model:
    """Two linear maps from past to future, of a series' trend and of what is left of it.

    Zeng, Chen, Zhang and Xu, "Are Transformers Effective for Time Series Forecasting?", 2022, section 4: the trend is
    the moving average over `kernel` steps, the ends repeated; the same maps serve all variables. `level: last` is the
    paper's NLinear with a decomposition. Two maps from L to T steps have 2 T (L + 1) parameters: 64,704 for 336 and 96
    steps, and 0.45 M multiply-adds for 7
    variables.

    Args:
        series: what it sees, and what it has to say.
        kernel: steps of the moving average; odd.
        level: what is taken off each window and added to its forecast.

    Raises:
        ValueError: the kernel is even.
    """
    if kernel % 2 == 0:
        raise ValueError(f"dlinear: a moving average of {kernel} steps has no middle; give an odd kernel")
    layers = keras.layers
    taken = windows.inputs(series, level)
    x = taken.past[:, :, :series.targets]
    trend = _moving_average(x, kernel)
    each = max(1, series.quantiles)
    steps = series.horizon * each
    by_variable = [layers.Permute((2, 1))(part) for part in (x - trend, trend)]
    start = keras.initializers.Constant(1 / series.window)
    both = layers.Add()([layers.Dense(steps, kernel_initializer=start, name=name)(part)
                         for name, part in zip(("seasonal", "trend"), by_variable, strict=True)])
    ahead = layers.Permute((2, 1, 3))(layers.Reshape((series.targets, series.horizon, each))(both))
    return keras.Model(taken.given, windows.answer(
        layers.Reshape((series.horizon, series.numbers))(ahead), taken, series), name="dlinear")


def _moving_average(x: Any, kernel: int) -> Any:
    """Return the mean of each step and its neighbours, (batch, steps, variables), the first and last step repeated."""
    if kernel == 1:
        return x
    beside = (kernel - 1) // 2
    before = keras.ops.tile(x[:, :1], (1, beside, 1))
    behind = keras.ops.tile(x[:, -1:], (1, beside, 1))
    padded = keras.layers.Concatenate(axis=1)([before, x, behind])
    return keras.layers.AveragePooling1D(kernel, strides=1, name="moving_average")(padded)
