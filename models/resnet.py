"""Residual networks."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models.registry import register

with epy.lazy_imports():
    import keras


@register("resnet8", paper="https://arxiv.org/abs/2106.07597")
def resnet8(input_shape: tuple[int, int, int], classes: int, *, width: Annotated[int, Field(ge=1)] = 16,
            weight_decay: Annotated[float, Field(ge=0)] = 1e-4,
            batch_norm_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9) -> keras.Model:
    """ResNet-8, the image model of the MLPerf Tiny benchmark.

    Banbury et al., "MLPerf Tiny Benchmark", 2021: a residual network after He et al. 2016 with one basic block per stage.
    78,666 parameters and 12.5 M multiply-adds at the paper's setting, (32, 32, 3) and 10 classes. The pooling before the
    classifier is global, which for 32 pixels is the benchmark's 8 x 8.

    Args:
        input_shape: (height, width, channels) in pixels.
        classes: number of logits.
        width: filters of the first stage; the second and third have twice and four times as many.
        weight_decay: L2 penalty on convolution kernels.
        batch_norm_momentum: of the moving statistics; 0.9 suits trainings of a few thousand steps.
    """
    layers = keras.layers

    def convolution(x, filters: int, kernel: int, strides: int = 1):
        return layers.Conv2D(filters, kernel, strides, padding="same", kernel_initializer="he_normal",
                             kernel_regularizer=keras.regularizers.L2(weight_decay))(x)

    def normalize(x):
        return layers.BatchNormalization(momentum=batch_norm_momentum)(x)

    def basic_block(x, filters: int, strides: int):
        shortcut = x
        x = layers.ReLU()(normalize(convolution(x, filters, 3, strides)))
        x = normalize(convolution(x, filters, 3))
        if strides != 1:
            shortcut = convolution(shortcut, filters, 1, strides)
        return layers.ReLU()(layers.Add()([x, shortcut]))

    pixels = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.ReLU()(normalize(convolution(x, width, 3)))
    for filters, strides in ((width, 1), (2 * width, 2), (4 * width, 2)):
        x = basic_block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Dense(classes, name="logits")(x), name="resnet8")
