"""wav2letter: convolutions over time, from sound to letters."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.front_end import Front, FrontEnd, as_sequence
from models.registry import register

with epy.lazy_imports():
    import keras


@register("wav2letter", task="speech_recognition", paper="https://arxiv.org/abs/1609.03193",
          at={"samples": 16_000, "rate": 16_000, "classes": 30})
def wav2letter(samples: int, rate: int, classes: int, *, front: Front = FrontEnd(mfcc=13, centred=True),
               filters: blocks.Filters = 250, wide: blocks.Filters = 2000, depth: Annotated[int, Field(ge=1)] = 7,
               first: Annotated[int, Field(ge=1)] = 48, kernel: Annotated[int, Field(ge=1)] = 7,
               last: Annotated[int, Field(ge=1)] = 32, stride: Annotated[int, Field(ge=1, le=8)] = 2,
               normalized: bool = False, residual: bool = False, dropout: blocks.Dropout = 0.0) -> keras.Model:
    """wav2letter, a network of convolutions over time alone, whose answers are characters.

    Collobert, Puhrsch and Synnaeve, "Wav2Letter: an End-to-End ConvNet-based Speech Recognition System", 2016, figure
    2, with ReLU: a convolution of kernel 48 and stride 2 over 13 MFCCs, seven of kernel 7, one of kernel 32, all of 250
    and then 2,000 filters, and two of kernel 1. 23,284,530 parameters at 30 characters, and 1,140.6 M multiply-adds for
    a second, of which it gives 49 frames.

    Args:
        samples: of a recording.
        rate: samples a second.
        classes: characters and the blank.
        front: the spectrogram that the network sees, see `models.front_end.FrontEnd`.
        filters: of all convolutions but the last three.
        wide: of the last but one and last but two.
        depth: convolutions of kernel `kernel`.
        first, kernel, last: the kernels in frames.
        stride: frames of the spectrogram for one of the answer.
        normalized: batch normalization behind each convolution.
        residual: each convolution of kernel `kernel` adds to what it is given, as Jasper's blocks do (Li et al. 2019).
        dropout: rate behind each convolution.
    """
    layers = keras.layers

    def convolution(x: Any, width: int, length: int, step: int = 1) -> Any:
        x = layers.Conv1D(width, length, step, padding="same", use_bias=not normalized)(x)
        if normalized:
            x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
        return layers.Dropout(dropout)(x) if dropout else x

    sound = keras.Input((samples,), name="audio")
    x = convolution(as_sequence(sound, front, rate), filters, first, stride)
    for _ in range(depth):
        y = convolution(x, filters, kernel)
        x = layers.Add()([x, y]) if residual else y
    x = convolution(convolution(x, wide, last), wide, 1)
    return keras.Model(sound, layers.Conv1D(classes, 1, name="logits")(x), name="wav2letter")
