"""The U-Net: a contracting path, an expanding path, and copies of the maps across."""
from __future__ import annotations

from collections.abc import Sequence
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
    make = Convolutions(batch_norm, batch_norm_momentum)
    pixels = blocks.image_input(input_shape, 2**depth, "unet")
    x, borders = framed(pixels, 2**depth)
    x, skipped = contracted(make, x, width, depth, dropout)
    for step in reversed(range(depth)):
        filters = width * 2**step
        x = make.twice(keras.layers.Concatenate()([skipped[step], enlarged(x, filters)]), filters)
    return keras.Model(pixels, logits(x, classes, borders), name="unet")


class Convolutions:
    """Makes the convolutions of one network."""

    def __init__(self, batch_norm: bool, momentum: float):
        self.batch_norm = batch_norm
        self.momentum = momentum

    def twice(self, x: Any, filters: int) -> Any:
        """Return maps after two 3 x 3 convolutions, each with its activation."""
        for _ in range(2):
            x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=not self.batch_norm,
                                    kernel_initializer="he_normal")(x)
            if self.batch_norm:
                x = keras.layers.BatchNormalization(momentum=self.momentum)(x)
            x = keras.layers.ReLU()(x)
        return x


def contracted(make: Convolutions, x: Any, width: int, depth: int, dropout: float) -> tuple[Any, list[Any]]:
    """Return the maps at the end of a contracting path, and those that are copied across, from the finest on.

    Args:
        width, depth, dropout: the builder's.
    """
    skipped = []
    for step in range(depth):
        x = make.twice(x, width * 2**step)
        skipped.append(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = make.twice(x, width * 2**depth)
    return (keras.layers.Dropout(dropout)(x) if dropout else x), skipped


def enlarged(x: Any, filters: int) -> Any:
    """Return maps of twice the resolution."""
    return keras.layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer="he_normal")(x)


def framed(pixels: Any, multiple: int) -> tuple[Any, Borders]:
    """Return scaled pixels with a black border that brings both sides to multiples of a number, and the border."""
    x, borders = keras.layers.Rescaling(1 / 255)(pixels), _borders(pixels.shape[1:3], multiple)
    return (x if borders == NONE else keras.layers.ZeroPadding2D(borders)(x)), borders


def logits(x: Any, classes: int, borders: Borders, name: str = "logits") -> Any:
    """Return the logits of every pixel of an image, without its border."""
    if borders == NONE:
        return keras.layers.Conv2D(classes, 1, name=name)(x)
    return keras.layers.Cropping2D(borders, name=name)(keras.layers.Conv2D(classes, 1)(x))


def _borders(size: Sequence[int], multiple: int) -> Borders:
    """Return what brings both sides of an image to multiples of a number, as evenly as it comes out."""
    rows, columns = (-side % multiple for side in size)
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
