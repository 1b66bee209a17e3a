"""The U-Net: a contracting path, an expanding path, and copies of the maps across."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1505.04597"
#: Rows to add above and below, columns to add left and right.
Borders = tuple[tuple[int, int], tuple[int, int]]
NONE: Borders = ((0, 0), (0, 0))


@register("unet", task=("semantic_segmentation", "instance_segmentation"), paper=PAPER,
          at={"input_shape": (572, 572, 1), "classes": 2})
def unet(input_shape: tuple[int, int, int], classes: int, *, width: blocks.Filters = 64,
         depth: Annotated[int, Field(ge=1, le=6)] = 4, batch_norm: bool = False,
         batch_norm_momentum: blocks.Momentum = 0.9, dropout: blocks.Dropout = 0.0) -> keras.Model:
    """U-Net: as deep as a classifier, and as sharp as its input.

    Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015. 31,030,658 parameters
    and 243 G multiply-adds at the paper's setting, (572, 572, 1) and 2 classes. The paper's convolutions are valid, and
    lose a border of 92 pixels; these are padded, so that every pixel of the image has its logits. An image whose sides
    are no multiples of 2**depth is padded with black inside the model, and its logits are cut to its size.

    Args:
        input_shape: (height, width, channels) in pixels; at least 2**depth x 2**depth.
        classes: number of logits of each pixel.
        width: filters of the first step; every further one has twice as many.
        depth: halvings of the resolution.
        batch_norm: normalize after each 3 x 3 convolution, as the paper does not.
        batch_norm_momentum: of the moving statistics; 0.9 suits trainings of a few hundred steps.
        dropout: rate at the end of the contracting path.
    """
    layers = keras.layers

    def convolutions(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=not batch_norm, kernel_initializer="he_normal")(x)
            if batch_norm:
                x = layers.BatchNormalization(momentum=batch_norm_momentum)(x)
            x = layers.ReLU()(x)
        return x

    pixels = blocks.image_input(input_shape, 2**depth, "unet")
    x = layers.Rescaling(1 / 255)(pixels)
    borders = _borders(input_shape, 2**depth)
    if borders != NONE:
        x = layers.ZeroPadding2D(borders)(x)
    skipped = []
    for step in range(depth):
        x = convolutions(x, width * 2**step)
        skipped.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = convolutions(x, width * 2**depth)
    if dropout:
        x = layers.Dropout(dropout)(x)
    for step in reversed(range(depth)):
        filters = width * 2**step
        x = layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer="he_normal")(x)
        x = convolutions(layers.Concatenate()([skipped[step], x]), filters)
    if borders == NONE:
        return keras.Model(pixels, layers.Conv2D(classes, 1, name="logits")(x), name="unet")
    x = layers.Conv2D(classes, 1)(x)
    return keras.Model(pixels, layers.Cropping2D(borders, name="logits")(x), name="unet")


def _borders(input_shape: tuple[int, int, int], multiple: int) -> Borders:
    """Return what brings both sides of an image to multiples of a number, as evenly as it comes out."""
    rows, columns = (-side % multiple for side in input_shape[:2])
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
