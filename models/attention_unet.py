"""Attention U-Net: a U-Net that weighs what crosses by what is known deeper down."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.registry import register
from models.unet import Convolutions, contracted, enlarged, framed, logits

with epy.lazy_imports():
    import keras


@register("attention_unet", task="semantic_segmentation", paper="https://arxiv.org/abs/1804.03999",
          at={"input_shape": (256, 256, 1), "classes": 2})
def attention_unet(input_shape: tuple[int, int, int], classes: int, *, width: blocks.Filters = 64,
                   depth: Annotated[int, Field(ge=1, le=6)] = 4, batch_norm: bool = True,
                   batch_norm_momentum: blocks.Momentum = 0.9, dropout: blocks.Dropout = 0.0) -> keras.Model:
    """Attention U-Net: gates let through what matters of the maps that cross to the expanding path.

    Oktay et al., "Attention U-Net: Learning Where to Look for the Pancreas", 2018, in two dimensions in the place of
    three, with the filters of the U-Net. At (256, 256, 1) and 2 classes 33,139,206 parameters and 49.7 G multiply-adds.
    An image whose sides are no multiples of 2**depth is padded with black inside the model, and its logits are cut to
    its size.

    Args:
        input_shape: (height, width, channels) in pixels; at least 2**depth x 2**depth.
        classes: number of logits of each pixel.
        width: filters of the first step; every further one has twice as many.
        depth: halvings of the resolution.
        batch_norm: normalize after each 3 x 3 convolution.
        batch_norm_momentum: of the moving statistics; 0.9 suits trainings of a few hundred steps.
        dropout: rate at the end of the contracting path.
    """
    make = Convolutions(batch_norm, batch_norm_momentum)
    pixels = blocks.image_input(input_shape, 2**depth, "attention_unet")
    x, borders = framed(pixels, 2**depth)
    x, skipped = contracted(make, x, width, depth, dropout)
    for step in reversed(range(depth)):
        filters = width * 2**step
        attended = attention_gate(skipped[step], x, filters)
        x = make.twice(keras.layers.Concatenate()([attended, enlarged(x, filters)]), filters)
    return keras.Model(pixels, logits(x, classes, borders), name="attention_unet")


def attention_gate(skipped: Any, gate: Any, filters: int) -> Any:
    """Return maps weighed by how well they fit to coarser ones (figure 2 and equation 1 of the paper).

    Args:
        skipped: (batch, height, width, channels).
        gate: (batch, height / 2, width / 2, channels of its own).
        filters: that both are compared in.
    """
    layers = keras.layers
    compared = layers.ReLU()(layers.Add()([layers.Conv2D(filters, 2, strides=2, use_bias=False)(skipped),
                                           layers.Conv2D(filters, 1)(gate)]))
    weight = layers.Conv2D(1, 1, activation="sigmoid")(compared)
    return layers.Multiply()([skipped, blocks.resized(weight, skipped.shape[1:3])])
