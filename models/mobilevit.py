"""MobileViT: inverted residuals, with small Transformers between them."""
from __future__ import annotations

from typing import Any, Literal

from etils import epy

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/2110.02178"
#: Filters of the stem, the five stages and the last convolution; widths of the three Transformers; expansion (table 4
#: of the paper).
VARIANTS = {"xxs": ((16, 16, 24, 48, 64, 80, 320), (64, 80, 96), 2),
            "xs": ((16, 32, 48, 64, 80, 96, 384), (96, 120, 144), 4),
            "s": ((16, 32, 64, 96, 128, 160, 640), (144, 192, 240), 4)}
AT = {"input_shape": (256, 256, 3), "classes": 1000}


@register("mobilevit_xxs", paper=PAPER, at=AT, variant="xxs")
@register("mobilevit_xs", paper=PAPER, at=AT, variant="xs")
@register("mobilevit_s", paper=PAPER, at=AT, variant="s")
def mobilevit(input_shape: tuple[int, int, int], classes: int, *, variant: Literal["xxs", "xs", "s"],
              dropout: blocks.Dropout = 0.1, skip_halvings: blocks.SkipHalvings = 0) -> keras.Model:
    """MobileViT: MobileNetV2's blocks, and three that let every pixel of a patch attend to its likes in all other
    patches.

    Mehta & Rastegari, "MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision Transformer", 2022. At the
    paper's setting, (256, 256, 3) and 1000 classes, trainable parameters and multiply-adds: xxs 1,272,024 and 0.41 G,
    xs 2,317,848 and 1.0 G, s 5,578,632 and 2.0 G.

    Args:
        input_shape: (height, width, channels) in pixels; a multiple of 64, of half of that for each halving left out.
        classes: number of logits.
        dropout: rate before the classifier and in the Transformers.
        skip_halvings: how many of the five halvings of the resolution to leave out, from the first, for small images.
    """
    side = 64 >> skip_halvings
    if input_shape[0] % side or input_shape[1] % side:
        raise ValueError(f"mobilevit_{variant} needs images of a multiple of {side} pixels a side, got "
                         f"{input_shape[0]} x {input_shape[1]}: set data.image.size")
    (stem, first, second, third, fourth, fifth, last), widths, expand = VARIANTS[variant]
    strides = [1 if number < skip_halvings else 2 for number in range(5)]
    pixels = blocks.image_input(input_shape, side, f"mobilevit_{variant}")
    x = convolution(blocks.scaled(pixels), stem, 3, strides[0])
    x = inverted_residual(x, first, expand)
    x = inverted_residual(x, second, expand, strides[1])
    x = inverted_residual(inverted_residual(x, second, expand), second, expand)
    for filters, units, count, step in zip((third, fourth, fifth), widths, (2, 4, 3), strides[2:], strict=True):
        x = mobilevit_block(inverted_residual(x, filters, expand, step), units, count, dropout)
    return keras.Model(pixels, blocks.logits(convolution(x, last, 1), classes, dropout), name=f"mobilevit_{variant}")


def convolution(x: Any, filters: int, kernel: int, strides: int = 1) -> Any:
    return blocks.convolution_norm(x, filters, kernel, strides, activation="silu")


def inverted_residual(x: Any, filters: int, expand: int, strides: int = 1) -> Any:
    """MobileNetV2's block, with silu in place of ReLU6."""
    layers = keras.layers
    wide = convolution(x, expand * x.shape[-1], 1)
    wide = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(wide)
    wide = layers.BatchNormalization(momentum=0.9)(wide)
    narrow = blocks.convolution_norm(layers.Activation("silu")(wide), filters, 1, activation=None)
    return layers.Add()([x, narrow]) if strides == 1 and x.shape[-1] == filters else narrow


def mobilevit_block(x: Any, units: int, count: int, dropout: float) -> Any:
    """Local convolution, global attention, fusion (figure 1b of the paper), in patches of 2 x 2 pixels."""
    layers = keras.layers
    _, height, width, filters = x.shape
    y = layers.Conv2D(units, 1, use_bias=False)(convolution(x, filters, 3))
    y = layers.Reshape((height // 2, 2, width // 2, 2, units))(y)
    y = layers.Permute((2, 4, 1, 3, 5))(y)
    y = layers.Reshape((4, height * width // 4, units))(y)
    for _ in range(count):
        y = blocks.encoder_block(y, 4, 2 * units, "silu", epsilon=1e-5, dropout=dropout)
    y = layers.LayerNormalization(epsilon=1e-5)(y)
    y = layers.Reshape((2, 2, height // 2, width // 2, units))(y)
    y = layers.Permute((3, 1, 4, 2, 5))(y)
    y = layers.Reshape((height, width, units))(y)
    return convolution(layers.Concatenate()([x, convolution(y, filters, 1)]), filters, 3)
