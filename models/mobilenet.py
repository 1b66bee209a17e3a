"""MobileNets: networks of depthwise separable convolutions, for phones."""
from __future__ import annotations

from typing import Literal

from etils import epy

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras


@register("mobilenet_v1", paper="https://arxiv.org/abs/1704.04861")
def mobilenet_v1(input_shape: tuple[int, int, int], classes: int, *, alpha: blocks.WidthMultiplier = 1.0,
                 dropout: blocks.Dropout = 0.001) -> keras.Model:
    """MobileNet of keras.applications, with the pixel scaling inside.

    Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017. 4,253,864
    parameters and 569 M multiply-adds at the paper's setting, (224, 224, 3), 1000 classes and alpha 1.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        alpha: width multiplier.
        dropout: rate before the classifier.
    """
    pixels = blocks.picture(input_shape, 32, "mobilenet_v1")
    backbone = keras.applications.MobileNet(
        input_tensor=blocks.scaled(pixels), alpha=alpha, include_top=False, weights=None)
    return keras.Model(pixels, blocks.logits(_quick_norm(backbone).output, classes, dropout), name="mobilenet_v1")


@register("mobilenet_v2", paper="https://arxiv.org/abs/1801.04381")
def mobilenet_v2(input_shape: tuple[int, int, int], classes: int, *, alpha: blocks.WidthMultiplier = 1.0,
                 dropout: blocks.Dropout = 0.2) -> keras.Model:
    """MobileNetV2 of keras.applications, with the pixel scaling inside.

    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018. 3,538,984 parameters and 300 M multiply-adds
    at the paper's setting, (224, 224, 3), 1000 classes and alpha 1.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        alpha: width multiplier.
        dropout: rate before the classifier.
    """
    pixels = blocks.picture(input_shape, 32, "mobilenet_v2")
    backbone = keras.applications.MobileNetV2(
        input_tensor=blocks.scaled(pixels), alpha=alpha, include_top=False, weights=None)
    return keras.Model(pixels, blocks.logits(_quick_norm(backbone).output, classes, dropout), name="mobilenet_v2")


@register("mobilenet_v3_small", paper="https://arxiv.org/abs/1905.02244", size="small")
@register("mobilenet_v3_large", paper="https://arxiv.org/abs/1905.02244", size="large")
def mobilenet_v3(input_shape: tuple[int, int, int], classes: int, *, size: Literal["small", "large"], alpha: blocks.WidthMultiplier = 1.0,
                 minimalistic: bool = False, dropout: blocks.Dropout = 0.2) -> keras.Model:
    """MobileNetV3 of keras.applications, with the pixel scaling inside.

    Howard et al., "Searching for MobileNetV3", 2019. At the paper's setting, (224, 224, 3), 1000 classes and alpha 1: small
    2,554,968 parameters and 56 M multiply-adds, large 5,507,432 and 219 M.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        alpha: width multiplier.
        minimalistic: without squeeze-and-excite, hard swish and 5 x 5 kernels, which some NPUs do not take.
        dropout: rate before the classifier.
    """
    pixels = blocks.picture(input_shape, 32, f"mobilenet_v3_{size}")
    application = keras.applications.MobileNetV3Small if size == "small" else keras.applications.MobileNetV3Large
    network = application(input_tensor=blocks.scaled(pixels), alpha=alpha, minimalistic=minimalistic, weights=None, classes=classes,
                          dropout_rate=dropout, classifier_activation=None, include_preprocessing=False)
    return keras.Model(pixels, _quick_norm(network).output, name=f"mobilenet_v3_{size}")


def _quick_norm(network: keras.Model) -> keras.Model:
    """Lets the moving statistics of batch normalization follow within a few hundred steps: the momentum of keras.applications, 0.99 and
    0.999, is meant for trainings of a hundred thousand."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    return network
