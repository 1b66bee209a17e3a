"""ShuffleNet v2."""
from __future__ import annotations

from typing import Any

from etils import epy

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1807.11164"
#: Filters of stages 2 to 4 and of the last convolution (table 5 of the paper).
FILTERS = {0.5: (48, 96, 192, 1024), 1.0: (116, 232, 464, 1024), 1.5: (176, 352, 704, 1024), 2.0: (244, 488, 976, 2048)}


@register("shufflenet_v2_x0_5", paper=PAPER, scale=0.5)
@register("shufflenet_v2", paper=PAPER, scale=1.0)
@register("shufflenet_v2_x1_5", paper=PAPER, scale=1.5)
@register("shufflenet_v2_x2", paper=PAPER, scale=2.0)
def shufflenet_v2(input_shape: tuple[int, int, int], classes: int, *, scale: float, dropout: blocks.Dropout = 0.0,
                  skip_halvings: blocks.SkipHalvings = 0) -> keras.Model:
    """ShuffleNet v2: half of the channels pass each block untouched, then both halves are shuffled.

    Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018. At the paper's
    setting, (224, 224, 3) and 1000 classes, trainable parameters and multiply-adds: x0_5 1,366,792 and 41 M, x1
    2,278,604 and 146 M, x1_5 3,503,624 and 299 M, x2 7,393,996 and 588 M.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        dropout: rate before the classifier.
        skip_halvings: how many of the five halvings of the resolution to leave out, from the first, for small images.
    """
    layers = keras.layers
    strides = [1 if number < skip_halvings else 2 for number in range(5)]
    pixels = blocks.image_input(input_shape, 32, "shufflenet_v2")
    x = blocks.convolution_norm(blocks.scaled(pixels), 24, 3, strides[0])
    x = layers.MaxPooling2D(3, strides[1], padding="same")(x)
    for stage, (filters, count) in enumerate(zip(FILTERS[scale], (4, 8, 4), strict=False)):
        x = unit_with_stride(x, filters, strides[stage + 2])
        for _ in range(count - 1):
            x = unit(x, filters)
    x = blocks.convolution_norm(x, FILTERS[scale][3], 1)
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name="shufflenet_v2")


def unit(x: Any, filters: int) -> Any:
    """A basic unit (figure 3c of the paper)."""
    kept, changed = x[..., :filters // 2], x[..., filters // 2:]
    return blocks.shuffled_channels(keras.layers.Concatenate()([kept, branch(changed, filters // 2, 1)]), 2)


def unit_with_stride(x: Any, filters: int, strides: int) -> Any:
    """A unit that halves the resolution (figure 3d of the paper)."""
    left = blocks.convolution_norm(depthwise(x, strides), filters // 2, 1)
    return blocks.shuffled_channels(keras.layers.Concatenate()([left, branch(x, filters // 2, strides)]), 2)


def branch(x: Any, filters: int, strides: int) -> Any:
    return blocks.convolution_norm(depthwise(blocks.convolution_norm(x, filters, 1), strides), filters, 1)


def depthwise(x: Any, strides: int) -> Any:
    x = keras.layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
    return keras.layers.BatchNormalization(momentum=0.9)(x)
