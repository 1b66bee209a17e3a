"""Inception v3."""
from __future__ import annotations

from etils import epy

from models import blocks
from models.adapt import adapted
from models.registry import register

with epy.lazy_imports():
    import keras


@register("inception_v3", paper="https://arxiv.org/abs/1512.00567", at={"input_shape": (299, 299, 3), "classes": 1000})
def inception_v3(input_shape: tuple[int, int, int], classes: int, *, width: blocks.WidthMultiplier = 1.0,
                 dropout: blocks.Dropout = 0.2, skip_halvings: blocks.SkipHalvings = 0) -> keras.Model:
    """Inception v3 of keras.applications, with the pixel scaling inside.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016. 23,851,784 parameters and 5.7 G
    multiply-adds at the paper's setting, (299, 299, 3), 1000 classes and width 1.

    Args:
        input_shape: (height, width, channels) in pixels; at least 75 x 75, and half of that for each halving left out.
        classes: number of logits.
        width: multiplier of the filters.
        dropout: rate before the classifier.
        skip_halvings: how many of the halvings of the resolution to leave out, from the first, for small images.
    """
    pixels = blocks.image_input(input_shape, -(-75 // 2**skip_halvings), "inception_v3")
    backbone = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(299, 299, input_shape[2]))
    x = adapted(backbone, blocks.scaled(pixels), width=width, skip_halvings=skip_halvings)
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name="inception_v3")
