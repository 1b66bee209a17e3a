"""SqueezeNet."""
from __future__ import annotations

from etils import epy

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1602.07360"


@register("squeezenet", paper=PAPER)
def squeezenet(input_shape: tuple[int, int, int], classes: int, *, dropout: blocks.Dropout = 0.5,
               batch_norm: bool = False) -> keras.Model:
    """SqueezeNet 1.1: fire modules, which squeeze the channels before they expand them.

    Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016, in version 1.1 of its authors.
    1,235,496 parameters and 0.35 G multiply-adds at the paper's setting, (224, 224, 3) and 1000 classes.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        dropout: rate before the last convolution.
        batch_norm: normalize the output of each fire module, for short trainings from random weights.
    """
    layers = keras.layers

    def convolution(x, filters: int, kernel: int, strides: int = 1):
        return layers.Conv2D(filters, kernel, strides, padding="same", activation="relu",
                             kernel_initializer="he_normal")(x)

    def fire(x, squeeze: int, expand: int):
        squeezed = convolution(x, squeeze, 1)
        x = layers.Concatenate()([convolution(squeezed, expand, 1), convolution(squeezed, expand, 3)])
        return layers.BatchNormalization(momentum=0.9)(x) if batch_norm else x

    def pool(x):
        return layers.MaxPooling2D(3, 2, padding="same")(x)

    pixels = blocks.image_input(input_shape, 32, "squeezenet")
    x = pool(convolution(blocks.scaled(pixels), 64, 3, 2))
    x = pool(fire(fire(x, 16, 64), 16, 64))
    x = pool(fire(fire(x, 32, 128), 32, 128))
    x = fire(fire(fire(fire(x, 48, 192), 48, 192), 64, 256), 64, 256)
    x = layers.Conv2D(classes, 1, name="class_maps")(layers.Dropout(dropout)(x))
    return keras.Model(pixels, layers.GlobalAveragePooling2D(name="logits")(x), name="squeezenet")
