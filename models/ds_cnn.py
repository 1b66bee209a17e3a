"""DS-CNN, a small network of depthwise separable convolutions for microcontrollers."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models import blocks
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
    layers = keras.layers

    def convolution(x, kernel, strides=1):
        x = layers.Conv2D(filters, kernel, strides, padding="same",
                          kernel_regularizer=keras.regularizers.L2(weight_decay))(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    pixels = keras.Input(input_shape, name="image")
    x = layers.Dropout(dropout)(convolution(blocks.scaled(pixels), (10, 4), 2))
    for _ in range(blocks_after):
        x = layers.DepthwiseConv2D(3, padding="same", depthwise_regularizer=keras.regularizers.L2(weight_decay))(x)
        x = convolution(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)), 1)
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name="ds_cnn")
