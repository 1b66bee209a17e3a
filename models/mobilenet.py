"""MobileNets: networks of depthwise separable convolutions, for phones."""
from __future__ import annotations

from typing import Annotated

from etils import epy
from pydantic import Field

from models.registry import register

with epy.lazy_imports():
    import keras


@register("mobilenet_v2", paper="https://arxiv.org/abs/1801.04381")
def mobilenet_v2(input_shape: tuple[int, int, int], classes: int, *, alpha: Annotated[float, Field(gt=0)] = 1.0,
                 dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2) -> keras.Model:
    """MobileNetV2 of keras.applications, with the pixel scaling inside.

    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018. 3,538,984 parameters and 300 M multiply-adds
    at the paper's setting, (224, 224, 3), 1000 classes and alpha 1.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        alpha: width multiplier.
        dropout: rate before the classifier.

    Raises:
        ValueError: pictures below 32 x 32 pixels, which the network's five halvings leave nothing of.
    """
    if min(input_shape[:2]) < 32:
        raise ValueError(f"mobilenet_v2 needs pictures of at least 32 x 32 pixels, got {input_shape[0]} x {input_shape[1]}: "
                         "set data.image.size to 32 or more")
    layers = keras.layers
    pixels = keras.Input(input_shape, name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    backbone = keras.applications.MobileNetV2(input_tensor=scaled, alpha=alpha, include_top=False, weights=None,
                                              pooling="avg")
    x = layers.Dropout(dropout)(backbone.output)
    return keras.Model(pixels, layers.Dense(classes, name="logits")(x), name="mobilenet_v2")
