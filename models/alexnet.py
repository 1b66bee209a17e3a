"""AlexNet."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras


@register("alexnet", paper="https://papers.nips.cc/paper/4824", at={"input_shape": (227, 227, 3), "classes": 1000})
def alexnet(input_shape: tuple[int, int, int], classes: int, *, width: blocks.WidthMultiplier = 1.0,
            head: Annotated[int, Field(ge=1)] = 4096, dropout: blocks.Dropout = 0.5,
            batch_norm: bool = False) -> keras.Model:
    """AlexNet, its second, fourth and fifth convolutions in two halves as on the paper's two graphics cards.

    Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012. 60,965,224
    parameters and 0.72 G multiply-adds at the paper's setting, (227, 227, 3) and 1000 classes.

    Args:
        input_shape: (height, width, channels) in pixels; at least 67 x 67.
        classes: number of logits.
        width: multiplier of the filters.
        head: units of the two dense layers before the logits.
        dropout: rate after each of them.
        batch_norm: normalize after each convolution, in place of the local response normalization after the first two;
            integer variants want it, since phones have no integer kernel for the latter.
    """
    layers = keras.layers

    def convolution(x, filters: int, kernel: int, strides: int = 1, halves: int = 1):
        filters = max(2, round(filters * width / 2) * 2)
        padding = "same" if strides == 1 else "valid"

        def one(part):
            return layers.Conv2D(filters // halves, kernel, strides, padding=padding,
                                 kernel_initializer="he_normal")(part)

        if halves == 1:
            x = one(x)
        else:
            middle = x.shape[-1] // 2
            x = layers.Concatenate()([one(x[..., :middle]), one(x[..., middle:])])
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x) if batch_norm else x)

    def pool(x):
        return layers.MaxPooling2D(3, 2)(x)

    def normalize(x):
        return x if batch_norm else blocks.local_response_normalization(x)

    pixels = blocks.image_input(input_shape, 67, "alexnet")
    x = pool(normalize(convolution(blocks.scaled(pixels), 96, 11, 4)))
    x = pool(normalize(convolution(x, 256, 5, halves=2)))
    x = convolution(x, 384, 3)
    x = convolution(x, 384, 3, halves=2)
    x = pool(convolution(x, 256, 3, halves=2))
    return keras.Model(pixels, blocks.dense_logits(x, classes, head, dropout), name="alexnet")
