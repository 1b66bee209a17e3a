"""MobileFaceNet: a small network from an aligned face to an embedding."""
from __future__ import annotations

from typing import Any, Literal

from etils import epy

from models import blocks
from models.embedding import FACE, EmbeddingSize, embedding
from models.registry import register

with epy.lazy_imports():
    import keras

#: Expansion, filters, blocks and stride of the first one, of each stage: table 1 of the paper.
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
#: Filters of the first two layers, and before the global convolution.
FIRST, LAST = 64, 512
#: Halvings of the resolution, with that of the first convolution.
HALVINGS = 4


@register("mobilefacenet", task="face_recognition", paper="https://arxiv.org/abs/1804.07573", at=FACE)
def mobilefacenet(input_shape: tuple[int, int, int], *, size: EmbeddingSize = 128,
                  width: blocks.WidthMultiplier = 1.0, skip_halvings: blocks.SkipHalvings = 0,
                  activation: Literal["prelu", "relu", "relu6"] = "prelu",
                  batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """MobileFaceNet: inverted residuals, and one weight for each place of the last map in place of its mean.

    Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", 2018,
    table 1. At the paper's setting, (112, 112, 3) and 128 numbers: 1,003,136 trained parameters, 7,552 of them slopes
    of PReLUs (the paper says 0.99 million), and 221 M multiply-adds.

    Args:
        input_shape: (height, width, channels) in pixels.
        size: numbers of an embedding.
        width: multiplier of the filters, but not of the embedding.
        skip_halvings: how many of the four halvings of the resolution to leave out, from the first, for small images.
        activation: after each convolution that has one.
        batch_norm_momentum: of the moving statistics.
    """
    layers = keras.layers
    halvings = HALVINGS - skip_halvings
    pixels = blocks.image_input(input_shape, 2**halvings * 2, "mobilefacenet")

    def filters(number: int) -> int:
        return max(8, round(number * width / 8) * 8)

    def stride(number: int, halving: int) -> int:
        """Return a layer's stride, 1 where it is one of the halvings that are left out."""
        return 1 if halving <= skip_halvings else number

    def activated(x: Any) -> Any:
        x = layers.BatchNormalization(momentum=batch_norm_momentum)(x)
        return layers.PReLU(shared_axes=[1, 2])(x) if activation == "prelu" else layers.Activation(activation)(x)

    def convolution(x: Any, number: int, kernel: int = 1, strides: int = 1) -> Any:
        return layers.Conv2D(number, kernel, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)

    def depthwise(x: Any, strides: int = 1) -> Any:
        return layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, depthwise_initializer="he_normal")(x)

    def bottleneck(x: Any, expansion: int, number: int, strides: int) -> Any:
        y = activated(convolution(x, expansion * x.shape[-1]))
        y = activated(depthwise(y, strides))
        y = layers.BatchNormalization(momentum=batch_norm_momentum)(convolution(y, number))
        return layers.Add()([x, y]) if strides == 1 and x.shape[-1] == number else y

    x = activated(convolution(blocks.scaled(pixels), filters(FIRST), 3, stride(2, 1)))
    x = activated(depthwise(x))
    halving = 1
    for expansion, number, count, strides in STAGES:
        halving += strides == 2
        for block in range(count):
            x = bottleneck(x, expansion, filters(number), stride(strides, halving) if block == 0 else 1)
    x = activated(convolution(x, filters(LAST)))
    x = layers.DepthwiseConv2D(x.shape[1:3], use_bias=False)(x)
    x = layers.BatchNormalization(momentum=batch_norm_momentum)(x)
    x = layers.BatchNormalization(momentum=batch_norm_momentum)(convolution(x, size))
    return keras.Model(pixels, embedding(layers.Flatten()(x)), name="mobilefacenet")
