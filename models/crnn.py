"""Convolutional recurrent networks for sound."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models import blocks
from models.front_end import Front, FrontEnd, as_image
from models.recurrent import Cell, recurrent
from models.registry import register

with epy.lazy_imports():
    import keras

#: Kernel and stride of the convolution, in frames and in bands.
KERNEL, STRIDE = (20, 5), (8, 2)


@register("crnn", task="audio_classification", paper="https://arxiv.org/abs/1703.05390",
          at={"samples": 24_240, "rate": 16_000, "classes": 2})
def crnn(samples: int, rate: int, classes: int, *, front: Front = FrontEnd(), filters: blocks.Filters = 32,
         cell: Cell = "gru", units: tuple[Annotated[int, Field(ge=1)], ...] = (32, 32),
         dense: Annotated[int, Field(ge=1)] = 64, dropout: blocks.Dropout = 0.0) -> keras.Model:
    """A convolution over time and frequency, recurrent layers in both directions, and two dense layers.

    Arik et al., "Convolutional Recurrent Neural Networks for Small-Footprint Keyword Spotting", 2017, the network of
    229 k parameters: 32 filters of 20 x 5 with strides of 8 x 2 over 40 bands of 151 frames, two layers of 32 GRUs and
    64 units; log-mel in place of per-channel energy normalization. With Keras's GRUs, which have two biases, 229,474
    parameters and 1.3 M multiply-adds in convolutions and dense layers at the paper's 1.5 seconds and 2 classes.

    Args:
        samples: of a recording.
        rate: samples a second.
        classes: number of logits.
        front: the spectrogram that the network sees, see `models.front_end.FrontEnd`.
        filters: of the convolution.
        cell: lstm, gru or rnn; an LSTM becomes one operator in TFLite files, integer ones too.
        units: of each recurrent layer, in each direction.
        dense: units before the logits.
        dropout: rate before each dense layer.
    """
    layers = keras.layers
    sound = keras.Input((samples,), name="audio")
    x = layers.Conv2D(filters, KERNEL, STRIDE, padding="same", activation="relu")(as_image(sound, front, rate))
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)
    x = recurrent(x, cell=cell, units=units, bidirectional=True, sequences=True)
    x = layers.Flatten()(x)
    x = layers.Dense(dense, "relu")(layers.Dropout(dropout)(x) if dropout else x)
    x = layers.Dropout(dropout)(x) if dropout else x
    return keras.Model(sound, layers.Dense(classes, name="logits")(x), name="crnn")
