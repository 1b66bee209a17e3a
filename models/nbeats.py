"""N-BEATS."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import series as windows
from models.registry import register
from models.series import Level, Series

with epy.lazy_imports():
    import keras


@register("nbeats", task="forecasting", paper="https://arxiv.org/abs/1905.10437",
          at={"series": Series(window=36, horizon=18)})
def nbeats(series: Series, *, blocks: Annotated[int, Field(ge=1)] = 30, units: Annotated[int, Field(ge=1)] = 512,
           depth: Annotated[int, Field(ge=1)] = 4, expansion: Annotated[int, Field(ge=1)] = 32,
           dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0, level: Level = "none") -> keras.Model:
    """Dense blocks, of which each explains a part of the window, takes it off, and adds its part of the forecast.

    Oreshkin, Carpov, Chapados and Bengio, "N-BEATS: Neural basis expansion analysis for interpretable time series
    forecasting", 2020, section 3, the generic architecture: `expansion` coefficients for the past and for the future,
    each of its own linear map, and bases that are learnt. The same blocks serve all variables, each by itself.
    A block has (W + 1) u + (d - 1) u (u + 1) + 2 u e + e W + e H parameters for d layers of u units, e coefficients, a
    window of W and a horizon of H steps, and the last one no past: 25,224,704 at 30 blocks of 4 layers of 512 units, 36
    and 18 steps, and 25.2 M multiply-adds.

    Args:
        series: what it sees, and what it has to say.
        blocks: one after the other.
        units: of each dense layer.
        depth: dense layers of a block.
        expansion: coefficients of a block's past, and of its future.
        dropout: rate behind the dense layers of each block.
        level: what is taken off each window and given back to its forecast.
    """
    layers = keras.layers
    taken = windows.inputs(series, level)
    each = max(1, series.quantiles)
    residual = layers.Permute((2, 1))(taken.past[:, :, :series.targets])
    ahead: list[Any] = []
    for number in range(blocks):
        x = residual
        for layer in range(depth):
            x = layers.Dense(units, "relu", name=f"block_{number}_hidden_{layer}")(x)
        x = layers.Dropout(dropout)(x)
        ahead.append(_expanded(x, expansion, series.horizon * each, f"block_{number}_future"))
        if number < blocks - 1:
            residual = residual - _expanded(x, expansion, series.window, f"block_{number}_past")
    total = ahead[0]
    for part in ahead[1:]:
        total = layers.Add()([total, part])
    steps = layers.Permute((2, 1, 3))(layers.Reshape((series.targets, series.horizon, each))(total))
    return keras.Model(taken.given, windows.answer(
        layers.Reshape((series.horizon, series.numbers))(steps), taken, series), name="nbeats")


def _expanded(x: Any, expansion: int, steps: int, name: str) -> Any:
    """Return coefficients in a basis that is learnt, (batch, variables, steps)."""
    coefficients = keras.layers.Dense(expansion, use_bias=False, name=f"{name}_coefficients")(x)
    return keras.layers.Dense(steps, use_bias=False, name=name)(coefficients)
