"""Lite R-ASPP: a segmentation head that costs next to nothing, for phones."""
from __future__ import annotations

from typing import Any, Literal

from etils import epy

from models import backbones, blocks
from models.registry import register

with epy.lazy_imports():
    import keras

VOC: dict[str, Any] = {"input_shape": (520, 520, 3), "classes": 21}
#: The level that boundaries come from, 1/8 of the image's resolution.
BOUNDARIES = 3


@register("lraspp", task="semantic_segmentation", paper="https://arxiv.org/abs/1905.02244", at=VOC)
def lraspp(input_shape: tuple[int, int, int], classes: int, *, backbone: backbones.Backbone = "mobilenet_v3_large",
           output_stride: Literal[16, 32] = 16, filters: blocks.Filters = 128,
           batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """Lite reduced atrous spatial pyramid pooling: a classifier's maps, weighed by what the whole image shows, and
    boundaries from 1/8 of the resolution.

    Howard et al., "Searching for MobileNetV3", 2019, figure 10. With MobileNetV3-Large and 21 classes 3,221,538
    parameters are trained, as in torchvision, and (520, 520, 3) take 2.1 G multiply-adds. As there, the whole map is
    averaged, where the paper averages over windows of 49 x 49, which a map of less than 49 x 49 does not have.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits of each pixel.
        backbone: a builder of classifiers, with its settings: {mobilenet_v3_small: {alpha: 0.75}}.
        output_stride: what the backbone divides the resolution by.
        filters: of both branches; the paper has 128, and 256 for its best model.
        batch_norm_momentum: of the moving statistics of the head.
    """
    blocks.check_size(input_shape, 32, "lraspp")
    level = output_stride.bit_length() - 1
    base = backbones.backbone(backbone, input_shape, (BOUNDARIES, level), output_stride, narrow=(BOUNDARIES,))
    low, x = base.output[f"p{BOUNDARIES}"], base.output[f"p{level}"]
    whole = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    weight = keras.layers.Conv2D(filters, 1, use_bias=False, activation="sigmoid")(whole)
    x = blocks.convolution_norm(x, filters, 1, momentum=batch_norm_momentum)
    x = blocks.resized(keras.layers.Multiply()([x, weight]), low.shape[1:3])
    x = keras.layers.Add()([keras.layers.Conv2D(classes, 1, name="class_maps")(x),
                            keras.layers.Conv2D(classes, 1, name="class_maps_of_boundaries")(low)])
    return keras.Model(base.input, {"logits": blocks.resized(x, input_shape[:2])}, name="lraspp")
