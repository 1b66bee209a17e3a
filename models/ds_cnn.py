"""DS-CNN, a small network of depthwise separable convolutions for microcontrollers."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.front_end import Front, FrontEnd, as_image
from models.registry import register

with epy.lazy_imports():
    import keras


@register("ds_cnn", paper="https://arxiv.org/abs/1711.07128", at={"input_shape": (49, 10, 1), "classes": 12})
def ds_cnn(input_shape: tuple[int, int, int], classes: int, *, filters: blocks.Filters = 64,
           blocks_after: Annotated[int, Field(ge=1)] = 4, dropout: blocks.Dropout = 0.2,
           weight_decay: blocks.WeightDecay = 1e-4) -> keras.Model:
    """DS-CNN, the keyword-spotting model of the MLPerf Tiny benchmark, here for images.

    Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", 2017, with the first kernel of MLPerf Tiny (10 x
    4). 24,908 parameters and 2.7 M multiply-adds at the benchmark's setting, (49, 10, 1) and 12 classes.

    Args:
        input_shape: (height, width, channels) in pixels.
        classes: number of logits.
        filters: of every layer.
        blocks_after: depthwise separable blocks after the first convolution.
        dropout: rate after the first convolution and before the classifier.
        weight_decay: L2 penalty on convolution kernels.
    """
    pixels = keras.Input(input_shape, name="image")
    x = _body(blocks.scaled(pixels), filters, blocks_after, dropout, weight_decay)
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name="ds_cnn")


@register("ds_cnn_audio", task="audio_classification", paper="https://arxiv.org/abs/1711.07128",
          at={"samples": 16_000, "rate": 16_000, "classes": 12})
def ds_cnn_audio(samples: int, rate: int, classes: int, *,
                 front: Front = FrontEnd(window=0.04, hop=0.02, mfcc=10), filters: blocks.Filters = 64,
                 blocks_after: Annotated[int, Field(ge=1)] = 4, dropout: blocks.Dropout = 0.2,
                 weight_decay: blocks.WeightDecay = 1e-4) -> keras.Model:
    """DS-CNN for sound, with its front end: the keyword-spotting model of the MLPerf Tiny benchmark.

    Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", 2017: 10 MFCCs of frames of 40 ms, every 20 ms.
    24,908 parameters and 2.7 M multiply-adds at the benchmark's setting, a second at 16 kHz and 12 classes; the front
    end has no parameters.

    Args:
        samples: of a recording.
        rate: samples a second.
        classes: number of logits.
        front: the spectrogram that the network sees, see `models.front_end.FrontEnd`.
        filters: of every layer.
        blocks_after: depthwise separable blocks after the first convolution.
        dropout: rate after the first convolution and before the classifier.
        weight_decay: L2 penalty on convolution kernels.

    Raises:
        ValueError: the front end does not fit the sound.
    """
    sound = keras.Input((samples,), name="audio")
    x = _body(as_image(sound, front, rate), filters, blocks_after, dropout, weight_decay)
    return keras.Model(sound, blocks.logits(x, classes, dropout), name="ds_cnn_audio")


def _body(x: Any, filters: int, blocks_after: int, dropout: float, weight_decay: float) -> Any:
    """Return the maps (batch, height / 2, width / 2, filters) that are pooled."""
    layers = keras.layers

    def convolution(x, kernel, strides=1):
        x = layers.Conv2D(filters, kernel, strides, padding="same",
                          kernel_regularizer=keras.regularizers.L2(weight_decay))(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    x = layers.Dropout(dropout)(convolution(x, (10, 4), 2))
    for _ in range(blocks_after):
        x = layers.DepthwiseConv2D(3, padding="same", depthwise_regularizer=keras.regularizers.L2(weight_decay))(x)
        x = convolution(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)), 1)
    return x
