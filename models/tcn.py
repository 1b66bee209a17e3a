"""Temporal convolutional network."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import series as windows
from models.registry import register
from models.series import Level, Series

with epy.lazy_imports():
    import keras


@register("tcn", task=("forecasting", "series_classification"), paper="https://arxiv.org/abs/1803.01271",
          at={"series": Series(window=600, means=(0.0, 0.0), deviations=(1.0, 1.0))})
def tcn(series: Series, *, units: Annotated[int, Field(ge=1)] = 24, depth: Annotated[int, Field(ge=1)] = 8,
        kernel: Annotated[int, Field(ge=2)] = 8, dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        level: Level = "none") -> keras.Model:
    """Residual blocks of dilated causal convolutions, of which the last step says what comes, and the mean of all steps
    which class a series has.

    Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
    Modeling", 2018, section 3: the b-th block's convolutions look at every 2^b-th step, so that the last step sees
    1 + 2 (kernel - 1) (2^depth - 1) of them; it is built without the weight normalization. A block from u to v units
    has k u v + k v v + 2 v parameters for kernels of k, and u v + v more where it changes the width: 69,985 at the
    paper's setting of the adding problem, where it says 70 K, and 41.7 M multiply-adds.

    Args:
        series: what it sees, and what it has to say.
        units: of each convolution.
        depth: blocks.
        kernel: steps that a convolution looks at.
        dropout: rate behind each convolution.
        level: what is taken off each window and given back to its forecast.
    """
    taken = windows.inputs(series, level)
    x = windows.with_known(taken, series)
    for block in range(depth):
        x = _block(x, units, kernel, 2**block, dropout)
    seen = keras.ops.mean(x, axis=1) if series.classes else x[:, -1]
    return keras.Model(taken.given, windows.head(seen, taken, series), name="tcn")


def _block(x: Any, units: int, kernel: int, dilation: int, dropout: float) -> Any:
    layers = keras.layers
    residual = x if x.shape[-1] == units else layers.Conv1D(units, 1)(x)
    for _ in range(2):
        x = layers.Conv1D(units, kernel, padding="causal", dilation_rate=dilation, activation="relu")(x)
        x = layers.Dropout(dropout)(x)
    return layers.Activation("relu")(layers.Add()([residual, x]))
