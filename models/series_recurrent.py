"""LSTM and GRU over windows of series."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models import series as windows
from models.recurrent import Cell, recurrent
from models.registry import register
from models.series import Level, Series

with epy.lazy_imports():
    import keras

Units = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
TASKS = ("forecasting", "series_classification")
AT = {"series": Series(window=24)}


@register("series_lstm", task=TASKS, paper="https://doi.org/10.1162/neco.1997.9.8.1735", at=AT, cell="lstm")
@register("series_gru", task=TASKS, paper="https://arxiv.org/abs/1406.1078", at=AT, cell="gru")
def series_recurrent(series: Series, *, cell: Cell = "lstm", units: Units = (64,), bidirectional: bool = False,
                     dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0, level: Level = "none") -> keras.Model:
    """Recurrent layers over a window, whose last state a dense layer turns into all steps to come, or into classes.

    Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with forget gates (Gers et al. 2000); Cho et al.,
    "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation", 2014, as cuDNN has
    it. From f features to u units an LSTM has 4 u (f + u + 1) parameters and a GRU 3 u (f + u + 2); 16,961 and 12,929
    at one variable and 64 units, with a dense layer of one step; 0.40 M and 0.30 M multiply-adds over 24 steps.

    Args:
        series: what it sees, and what it has to say.
        units: of each layer.
        bidirectional: each layer reads the window in both directions.
        dropout: share of each layer's inputs that is dropped in training.
        level: what is taken off each window and given back to its forecast.
    """
    taken = windows.inputs(series, level)
    x = recurrent(windows.with_known(taken, series), cell=cell, units=units, bidirectional=bidirectional,
                  dropout=dropout)
    return keras.Model(taken.given, windows.head(x, taken, series), name=f"series_{cell}")
