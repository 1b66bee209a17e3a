"""Fully convolutional networks: a classifier's dense layers as convolutions, and its scores summed over levels."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import backbones, blocks
from models.registry import register

with epy.lazy_imports():
    import keras

VOC: dict[str, Any] = {"input_shape": (512, 512, 3), "classes": 21}
#: The level of the last map.
LAST = 5


@register("fcn", task="semantic_segmentation", paper="https://arxiv.org/abs/1411.4038", at=VOC)
def fcn(input_shape: tuple[int, int, int], classes: int, *, backbone: backbones.Backbone = "vgg16",
        stride: Literal[8, 16, 32] = 8, units: blocks.Filters = 4096, kernel: Annotated[int, Field(ge=1)] = 7,
        dropout: blocks.Dropout = 0.5) -> keras.Model:
    """FCN-8s, FCN-16s and FCN-32s: a classifier that scores every place, its scores summed from coarse to fine.

    Long et al., "Fully Convolutional Networks for Semantic Segmentation", 2015, figure 3. At the paper's setting, VGG16
    and 21 classes, 134,368,127 parameters; table 1 says 134 M. 111 G multiply-adds at (512, 512, 3). Differences to the
    paper: levels give their last maps, those of the stage behind its pooling; the image is not framed by 100 pixels;
    and scores are enlarged bilinearly, where the paper's deconvolutions start from just that.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits of each pixel.
        backbone: a builder of classifiers, with its settings: {mobilenet_v2: {alpha: 0.5}}, resnet50.
        stride: of the finest scores: those of 1/32, of 1/16 too, or of 1/8 too.
        units: of the two layers that were dense; 512 for a small model.
        kernel: side of the first of them, 7 in the paper; 3 for a small model.
        dropout: rate behind each of them.
    """
    blocks.check_size(input_shape, 32, "fcn")
    levels = range(stride.bit_length() - 1, LAST + 1)
    base = backbones.backbone(backbone, input_shape, levels)
    x = base.output[f"p{LAST}"]
    for side in (kernel, 1):
        x = keras.layers.Conv2D(units, side, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    scores = keras.layers.Conv2D(classes, 1, name=f"class_maps_p{LAST}")(x)
    for level in reversed(levels[:-1]):
        finer = keras.layers.Conv2D(classes, 1, kernel_initializer="zeros",
                                    name=f"class_maps_p{level}")(base.output[f"p{level}"])
        scores = keras.layers.Add()([blocks.resized(scores, finer.shape[1:3]), finer])
    return keras.Model(base.input, {"logits": blocks.resized(scores, input_shape[:2])}, name="fcn")
