"""Deep Speech 2: convolutions and recurrent layers, from sound to characters."""
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

#: Kernels of the two convolutions, in frames and bands, and what they stride by, in the paper's table 5.
KERNELS, BANDS_BY = ((11, 41), (11, 21)), (2, 2)


@register("deepspeech2", task="speech_recognition", paper="https://arxiv.org/abs/1512.02595",
          at={"samples": 16_000, "rate": 16_000, "classes": 30})
def deepspeech2(samples: int, rate: int, classes: int, *, front: Front = FrontEnd(mels=64, centred=True),
                filters: blocks.Filters = 32, cell: Cell = "lstm",
                units: tuple[Annotated[int, Field(ge=1)], ...] = (128, 128),
                stride: Annotated[int, Field(ge=1, le=4)] = 2, dropout: blocks.Dropout = 0.1) -> keras.Model:
    """A small Deep Speech 2: two convolutions over time and frequency, and recurrent layers in both directions.

    Amodei et al., "Deep Speech 2: End-to-End Speech Recognition in English and Mandarin", 2016, sections 3.1 and 3.5:
    two normalized convolutions of 32 filters, 11 frames by 41 and 21 bands, that halve the bands and once the frames,
    recurrent layers in both directions with normalization before each, and a linear layer; here on log-mel, with LSTMs
    (fused in TFLite files) of fewer units, and without lookahead. 1,313,662 parameters at 30 characters.

    208.5 M multiply-adds in convolutions and the linear layer for a second, of which it gives 49 frames.

    Args:
        samples: of a recording.
        rate: samples a second.
        classes: characters and the blank.
        front: the spectrogram that the network sees, see `models.front_end.FrontEnd`.
        filters: of the convolutions.
        cell: lstm, gru or rnn.
        units: of each recurrent layer, in each direction.
        stride: frames of the spectrogram for one of the answer.
        dropout: rate before each recurrent layer.
    """
    layers = keras.layers
    sound = keras.Input((samples,), name="audio")
    x = as_image(sound, front, rate)
    for number, kernel in enumerate(KERNELS):
        x = layers.Conv2D(filters, kernel, (stride if not number else 1, BANDS_BY[number]), padding="same",
                          use_bias=False)(x)
        x = layers.ReLU(20.0)(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)
    for width in units:
        x = layers.Dropout(dropout)(layers.BatchNormalization(momentum=0.9)(x))
        x = recurrent(x, cell=cell, units=(width,), bidirectional=True, sequences=True)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return keras.Model(sound, layers.Conv1D(classes, 1, name="logits")(x), name="deepspeech2")
