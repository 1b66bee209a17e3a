"""Densely connected networks."""
from __future__ import annotations

from typing import Literal

from etils import epy

from models import blocks
from models.adapt import adapted
from models.registry import register

with epy.lazy_imports():
    import keras
    from keras.src.applications import densenet as applications

PAPER = "https://arxiv.org/abs/1608.06993"
#: Layers of each dense block (table 1 of the paper).
LAYERS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}


@register("densenet121", paper=PAPER, variant=121)
@register("densenet169", paper=PAPER, variant=169)
@register("densenet201", paper=PAPER, variant=201)
def densenet(input_shape: tuple[int, int, int], classes: int, *, variant: Literal[121, 169, 201],
             width: blocks.WidthMultiplier = 1.0, depth: blocks.DepthMultiplier = 1.0, dropout: blocks.Dropout = 0.0,
             skip_halvings: blocks.SkipHalvings = 0) -> keras.Model:
    """DenseNet of keras.applications, with the pixel scaling inside: each layer sees the outputs of all before it in
    its block.

    Huang et al., "Densely Connected Convolutional Networks", 2017. At the paper's setting, (224, 224, 3) and 1000
    classes: densenet121 8,062,504 parameters and 2.8 G multiply-adds, densenet169 14,307,880 and 3.4 G, densenet201
    20,242,984 and 4.3 G.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        width: multiplier of the filters, the growth rate with them.
        depth: multiplier of the layers of each block, rounded up.
        dropout: rate before the classifier.
        skip_halvings: how many of the five halvings of the resolution to leave out, from the first, for small images.
    """
    pixels = blocks.image_input(input_shape, 32, f"densenet{variant}")
    counts = blocks.repeats(LAYERS[variant], depth)
    backbone = applications.DenseNet(counts, include_top=False, weights=None, input_shape=input_shape)
    x = adapted(backbone, blocks.scaled(pixels), width=width, skip_halvings=skip_halvings)
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name=f"densenet{variant}")
