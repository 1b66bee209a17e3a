"""EfficientNets: networks whose width, depth and resolution grow together."""
from __future__ import annotations

from typing import Any

from etils import epy

from models import blocks
from models.adapt import adapted
from models.registry import register

with epy.lazy_imports():
    import keras
    from keras.src.applications import efficientnet as applications
    from keras.src.applications import efficientnet_v2 as applications_v2

PAPER, PAPER_V2 = "https://arxiv.org/abs/1905.11946", "https://arxiv.org/abs/2104.00298"
#: Multipliers of width and depth, and rate of dropout, of the first version's variants (its authors' code).
VARIANTS = {"b0": (1.0, 1.0, 0.2), "b1": (1.0, 1.1, 0.2), "b2": (1.1, 1.2, 0.3), "b3": (1.2, 1.4, 0.3),
            "b4": (1.4, 1.8, 0.4), "b5": (1.6, 2.2, 0.4), "b6": (1.8, 2.6, 0.5), "b7": (2.0, 3.1, 0.5)}
#: Multipliers of width and depth of the second version's.
VARIANTS_V2 = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4), "s": (1.0, 1.0)}


def _at(side: int) -> dict[str, Any]:
    return {"input_shape": (side, side, 3), "classes": 1000}


@register("efficientnet_b0", paper=PAPER, at=_at(224), variant="b0")
@register("efficientnet_b1", paper=PAPER, at=_at(240), variant="b1")
@register("efficientnet_b2", paper=PAPER, at=_at(260), variant="b2")
@register("efficientnet_b3", paper=PAPER, at=_at(300), variant="b3")
@register("efficientnet_b4", paper=PAPER, at=_at(380), variant="b4")
@register("efficientnet_b5", paper=PAPER, at=_at(456), variant="b5")
@register("efficientnet_b6", paper=PAPER, at=_at(528), variant="b6")
@register("efficientnet_b7", paper=PAPER, at=_at(600), variant="b7")
def efficientnet(input_shape: tuple[int, int, int], classes: int, *, variant: str, width: blocks.WidthMultiplier = 1.0,
                 depth: blocks.DepthMultiplier = 1.0, dropout: blocks.Dropout | None = None,
                 stochastic_depth: blocks.Dropout = 0.2, skip_halvings: blocks.SkipHalvings = 0) -> keras.Model:
    """EfficientNet of keras.applications, its pixel scaling inside.

    Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019. At the paper's settings
    and 1000 classes, parameters and multiply-adds: b0 (224 pixels) 5,330,571 and 0.39 G, b1 (240) 7,856,239 and 0.69 G,
    b2 (260) 9,177,569 and 0.99 G, b3 (300) 12,320,535 and 1.8 G, b4 (380) 19,466,823 and 4.4 G, b5 (456) 30,562,527 and
    10.3 G, b6 (528) 43,265,143 and 19.0 G, b7 (600) 66,658,687 and 38 G.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        width: multiplier on top of the variant's own.
        depth: the same for the blocks of each stage.
        dropout: rate before the classifier; the variant's own where not given.
        stochastic_depth: rate at which the last residual branch is left out; earlier ones less, in proportion.
        skip_halvings: how many of the five halvings of the resolution to leave out, from the first, for small images.
    """
    paper_width, paper_depth, rate = VARIANTS[variant]
    pixels = blocks.image_input(input_shape, 32, f"efficientnet_{variant}")
    backbone = applications.EfficientNet(
        paper_width * width, paper_depth * depth, input_shape[0], drop_connect_rate=stochastic_depth,
        name=f"efficientnet{variant}", include_top=False, weights=None, input_shape=input_shape)
    x = adapted(backbone, pixels, skip_halvings=skip_halvings)
    logits = blocks.logits(x, classes, rate if dropout is None else dropout)
    return keras.Model(pixels, logits, name=f"efficientnet_{variant}")


@register("efficientnet_v2_b0", paper=PAPER_V2, at=_at(224), variant="b0")
@register("efficientnet_v2_b1", paper=PAPER_V2, at=_at(240), variant="b1")
@register("efficientnet_v2_b2", paper=PAPER_V2, at=_at(260), variant="b2")
@register("efficientnet_v2_b3", paper=PAPER_V2, at=_at(300), variant="b3")
@register("efficientnet_v2_s", paper=PAPER_V2, at=_at(384), variant="s")
def efficientnet_v2(input_shape: tuple[int, int, int], classes: int, *, variant: str,
                    width: blocks.WidthMultiplier = 1.0, depth: blocks.DepthMultiplier = 1.0,
                    dropout: blocks.Dropout = 0.2, stochastic_depth: blocks.Dropout = 0.2,
                    skip_halvings: blocks.SkipHalvings = 0) -> keras.Model:
    """EfficientNetV2 of keras.applications, its pixel scaling inside: early blocks with one plain convolution instead
    of two.

    Tan & Le, "EfficientNetV2: Smaller Models and Faster Training", 2021. At the paper's settings and 1000 classes,
    parameters and multiply-adds: b0 (224 pixels) 7,200,312 and 0.72 G, b1 (240) 8,212,124 and 1.2 G, b2 (260)
    10,178,374 and 1.7 G, b3 (300) 14,467,622 and 3.0 G, s (384) 21,612,360 and 8.4 G.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        width: multiplier on top of the variant's own.
        depth: the same for the blocks of each stage.
        dropout: rate before the classifier.
        stochastic_depth: rate at which the last residual branch is left out; earlier ones less, in proportion.
        skip_halvings: how many of the five halvings of the resolution to leave out, from the first, for small images.
    """
    paper_width, paper_depth = VARIANTS_V2[variant]
    pixels = blocks.image_input(input_shape, 32, f"efficientnet_v2_{variant}")
    backbone = applications_v2.EfficientNetV2(
        paper_width * width, paper_depth * depth, input_shape[0], drop_connect_rate=stochastic_depth,
        name=f"efficientnetv2-{variant}", include_top=False, weights=None, input_shape=input_shape)
    x = adapted(backbone, pixels, skip_halvings=skip_halvings)
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name=f"efficientnet_v2_{variant}")
