"""VGG networks."""
from __future__ import annotations

from typing import Annotated, Literal

from etils import epy
from pydantic import Field

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1409.1556"
#: Convolutions before each of the five poolings (table 1 of the paper, columns A, B, D, E).
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@register("vgg11", paper=PAPER, depth=11)
@register("vgg13", paper=PAPER, depth=13)
@register("vgg16", paper=PAPER, depth=16)
@register("vgg19", paper=PAPER, depth=19)
def vgg(input_shape: tuple[int, int, int], classes: int, *, depth: Literal[11, 13, 16, 19],
        width: blocks.WidthMultiplier = 1.0, head: Annotated[int, Field(ge=1)] = 4096,
        dropout: blocks.Dropout = 0.5, batch_norm: bool = False,
        spatial_dropout: blocks.Dropout = 0.0) -> keras.Model:
    """VGG: stacks of 3 x 3 convolutions, each stack followed by a pooling.

    Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015. At the paper's
    setting, (224, 224, 3) and 1000 classes: vgg11 132,863,336 parameters and 7.6 G multiply-adds, vgg13 133,047,848 and
    11.3 G, vgg16 138,357,544 and 15.5 G, vgg19 143,667,240 and 19.6 G.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        width: multiplier of the filters.
        head: units of the two dense layers before the logits.
        dropout: rate after each of them.
        batch_norm: normalize after each convolution, without which a deep one hardly starts to learn from random
            weights.
        spatial_dropout: rate at which whole channels are left out after each pooling.
    """
    layers = keras.layers
    pixels = blocks.image_input(input_shape, 32, f"vgg{depth}")
    x = blocks.scaled(pixels)
    for filters, count in zip((64, 128, 256, 512, 512), CONVOLUTIONS[depth], strict=True):
        for _ in range(count):
            x = layers.Conv2D(max(1, round(filters * width)), 3, padding="same", kernel_initializer="he_normal")(x)
            if batch_norm:
                x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.ReLU()(x)
        x = blocks.spatial_dropout(layers.MaxPooling2D(2)(x), spatial_dropout)
    return keras.Model(pixels, blocks.dense_logits(x, classes, head, dropout), name=f"vgg{depth}")
