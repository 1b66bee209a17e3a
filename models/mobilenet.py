"""MobileNets: networks of depthwise separable convolutions, for phones."""
from __future__ import annotations

from typing import Literal

from etils import epy

from models import blocks
from models.adapt import adapted
from models.registry import register

with epy.lazy_imports():
    import keras


@register("mobilenet_v1", paper="https://arxiv.org/abs/1704.04861", version=1)
@register("mobilenet_v2", paper="https://arxiv.org/abs/1801.04381", version=2)
def mobilenet(input_shape: tuple[int, int, int], classes: int, *, version: Literal[1, 2],
              alpha: blocks.WidthMultiplier = 1.0, dropout: blocks.Dropout = 0.2,
              skip_halvings: blocks.SkipHalvings = 0) -> keras.Model:
    """MobileNet and MobileNetV2 of keras.applications, with the pixel scaling inside.

    Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017, and
    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018. At the papers' setting, (224, 224,
    3), 1000 classes and alpha 1: v1 4,253,864 parameters and 569 M multiply-adds, v2 3,538,984 and 300 M.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        alpha: width multiplier.
        dropout: rate before the classifier.
        skip_halvings: how many of the five halvings of the resolution to leave out, from the first, for small images.
    """
    pixels = blocks.image_input(input_shape, 32, f"mobilenet_v{version}")
    application = keras.applications.MobileNet if version == 1 else keras.applications.MobileNetV2
    backbone = application(input_shape=input_shape, alpha=alpha, include_top=False, weights=None)
    x = adapted(backbone, blocks.scaled(pixels), skip_halvings=skip_halvings)
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name=f"mobilenet_v{version}")


@register("mobilenet_v3_small", paper="https://arxiv.org/abs/1905.02244", size="small")
@register("mobilenet_v3_large", paper="https://arxiv.org/abs/1905.02244", size="large")
def mobilenet_v3(input_shape: tuple[int, int, int], classes: int, *, size: Literal["small", "large"],
                 alpha: blocks.WidthMultiplier = 1.0, minimalistic: bool = False, dropout: blocks.Dropout = 0.2,
                 skip_halvings: blocks.SkipHalvings = 0) -> keras.Model:
    """MobileNetV3 of keras.applications, with the pixel scaling inside.

    Howard et al., "Searching for MobileNetV3", 2019. At the paper's setting, (224, 224, 3), 1000 classes and alpha 1:
    small 2,554,968 parameters and 56 M multiply-adds, large 5,507,432 and 219 M.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        alpha: width multiplier.
        minimalistic: without squeeze-and-excite, hard swish and 5 x 5 kernels, which some NPUs do not take.
        dropout: rate before the classifier.
        skip_halvings: how many of the five halvings of the resolution to leave out, from the first, for small images.
    """
    pixels = blocks.image_input(input_shape, 32, f"mobilenet_v3_{size}")
    application = keras.applications.MobileNetV3Small if size == "small" else keras.applications.MobileNetV3Large
    network = application(
        input_shape=input_shape, alpha=alpha, minimalistic=minimalistic, weights=None, classes=classes,
        dropout_rate=dropout, classifier_activation=None, include_preprocessing=False)
    logits = adapted(network, blocks.scaled(pixels), skip_halvings=skip_halvings,
                     names={"logits": "class_maps", "predictions": "logits"})
    return keras.Model(pixels, logits, name=f"mobilenet_v3_{size}")
