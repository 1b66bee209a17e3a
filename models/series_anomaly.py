"""LSTMs that know what is ordinary: what they cannot rebuild, or foresee, is not."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import series as windows
from models.recurrent import recurrent
from models.registry import register
from models.series import Level, Series

with epy.lazy_imports():
    import keras

SCORE = "score"
#: The layer that divides errors by what is the threshold.
THRESHOLD = "threshold"
Units = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
Steps = Annotated[int, Field(ge=1)]


@register("lstm_autoencoder", task="anomaly_detection", paper="https://arxiv.org/abs/1607.00148",
          at={"series": Series(window=32)})
def lstm_autoencoder(series: Series, *, units: Units = (32,), recent: Steps = 8,
                     dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0, level: Level = "none") -> keras.Model:
    """An LSTM makes a vector of a window, and a second one the window of it again.

    Malhotra et al., "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection", 2016; the decoder is given the
    vector at each step. Two LSTMs of u units have 4 u (f + u + 1) and 4 u (2 u + 1) parameters for f variables, a dense
    layer f (u + 1), and three numbers hold the threshold: 12,708 for one variable and 32 units; 0.40 M multiply-adds
    over 32 steps.

    Args:
        series: what it sees.
        units: of each layer of the encoder, and of the decoder's, the other way round.
        recent: steps at the window's end whose errors are the score; all at most.
        dropout: share of each layer's inputs that is dropped in training.
        level: what is taken off each window.
    """
    taken = windows.inputs(series, level)
    code = recurrent(taken.past, units=units, dropout=dropout)
    again = keras.layers.RepeatVector(series.window)(code)
    again = recurrent(again, units=units[::-1], dropout=dropout, sequences=True)
    rebuilt = keras.layers.Dense(len(series.means), name="rebuilt")(again)
    last = min(recent, series.window)
    return keras.Model(taken.given, _scored(taken.past[:, -last:], rebuilt[:, -last:]), name="lstm_autoencoder")


@register("lstm_predictor", task="anomaly_detection", paper="https://www.esann.org/sites/default/files/proceedings/"
                                                            "legacy/es2015-56.pdf", at={"series": Series(window=32)})
def lstm_predictor(series: Series, *, units: Units = (32,), recent: Steps = 8,
                   dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0, level: Level = "none") -> keras.Model:
    """An LSTM foresees the last steps of a window out of those before.

    Malhotra, Vig, Shroff and Agarwal, "Long Short Term Memory Networks for Anomaly Detection in Time Series", 2015. An
    LSTM of u units has 4 u (f + u + 1) parameters for f variables, the dense layer r f (u + 1) for r steps, and three
    numbers hold the threshold: 4,619 for one variable, 32 units and 8 of 32 steps; 0.10 M multiply-adds.

    Args:
        series: what it sees.
        units: of each layer.
        recent: steps at the window's end that are foreseen, and whose errors are the score; fewer than the window.
        dropout: share of each layer's inputs that is dropped in training.
        level: what is taken off each window.

    Raises:
        ValueError: no step is left to foresee them from.
    """
    if recent >= series.window:
        raise ValueError(f"lstm_predictor: it foresees the last {recent} of {series.window} steps, and has none before "
                         "them; give a smaller recent, or a longer window")
    taken = windows.inputs(series, level)
    state = recurrent(taken.past[:, :-recent], units=units, dropout=dropout)
    variables = len(series.means)
    foreseen = keras.layers.Dense(recent * variables, name="foreseen")(state)
    foreseen = keras.layers.Reshape((recent, variables))(foreseen)
    return keras.Model(taken.given, _scored(taken.past[:, -recent:], foreseen), name="lstm_predictor")


def _scored(values: Any, answers: Any) -> dict[str, Any]:
    """Return `score`, (batch,): the mean absolute error over steps and variables, in deviations of the training data,
    by the threshold, which is 1 until `set_threshold`."""
    error = keras.ops.mean(keras.ops.abs(answers - values), axis=(1, 2))
    error = keras.layers.Reshape((1,))(error)
    by = keras.layers.BatchNormalization(center=False, epsilon=1e-6, trainable=False, name=THRESHOLD)(error)
    return {SCORE: keras.layers.Reshape((), name=SCORE)(by)}


def set_threshold(model: keras.Model, threshold: float) -> None:
    """Divide a model's scores by a threshold, which is in the units that it gives now."""
    layer = model.get_layer(THRESHOLD)
    gamma, mean, variance = layer.get_weights()
    layer.set_weights([gamma / threshold, mean, variance])


