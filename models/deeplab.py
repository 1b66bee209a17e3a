"""DeepLabv3+: a classifier with holes in the place of strides, a pyramid of holes, and a decoder for boundaries."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import backbones, blocks
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1802.02611"
#: Those of PASCAL VOC in the paper.
VOC: dict[str, Any] = {"input_shape": (513, 513, 3), "classes": 21}


@register("deeplabv3plus", task="semantic_segmentation", paper=PAPER, at=VOC)
def deeplabv3plus(input_shape: tuple[int, int, int], classes: int, *, backbone: backbones.Backbone = "mobilenet_v2",
                  output_stride: Literal[8, 16] = 16, boundary_stride: Literal[2, 4] = 4,
                  filters: blocks.Filters = 256, boundary_filters: blocks.Filters = 48,
                  rates: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [6, 12, 18],  # noqa: B006
                  separable: bool = True, dropout: blocks.Dropout = 0.1,
                  batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """DeepLabv3+: what a classifier sees at 1/16 of the resolution, at several scales, with boundaries from 1/4 of it.

    Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", 2018, figure 2. At
    the paper's setting, (513, 513, 3) and 21 classes, with MobileNetV2: 2,758,597 parameters and 5.8 G multiply-adds.
    MobileNetV2 ends before its last 1 x 1 convolution, as Sandler et al. 2018, section 6.3, have it, whose DeepLabv3
    with a pyramid that is not separable has 4.52 M parameters, as this has without the decoder.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits of each pixel.
        backbone: a builder of classifiers, with its settings: {mobilenet_v2: {alpha: 0.5}}, resnet50.
        output_stride: what the backbone divides the resolution by; at 8 it is finer, and takes four times as long.
        boundary_stride: what the maps are divided by that the decoder takes boundaries from, and that its logits are
            enlarged by; 2 where classes are a few pixels wide.
        filters: of each branch of the pyramid, and of the decoder.
        boundary_filters: that the maps with the boundaries are brought to.
        rates: of the pyramid's 3 x 3 convolutions at an output stride of 16; at 8 they are doubled.
        separable: 3 x 3 convolutions of the pyramid and the decoder are depthwise, with a 1 x 1 convolution behind.
        dropout: rate behind the pyramid.
        batch_norm_momentum: of the moving statistics of the pyramid and the decoder.
    """
    blocks.check_size(input_shape, 32, "deeplabv3plus")
    fine, level = boundary_stride.bit_length() - 1, output_stride.bit_length() - 1
    base = backbones.backbone(backbone, input_shape, (fine, level), output_stride, narrow=(fine, level))
    low, x = base.output[f"p{fine}"], base.output[f"p{level}"]
    make = _Convolutions(filters, separable, batch_norm_momentum)
    x = make.pyramid(x, [rate * 16 // output_stride for rate in rates])
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    low = make.one_by_one(low, boundary_filters)
    x = keras.layers.Concatenate()([low, blocks.resized(x, low.shape[1:3])])
    x = make.three_by_three(make.three_by_three(x))
    x = keras.layers.Conv2D(classes, 1, name="class_maps")(x)
    return keras.Model(base.input, {"logits": blocks.resized(x, input_shape[:2])}, name="deeplabv3plus")


class _Convolutions:
    """Makes the convolutions of one network, each with batch normalization and ReLU."""

    def __init__(self, filters: int, separable: bool, momentum: float):
        self.filters = filters
        self.separable = separable
        self.momentum = momentum

    def one_by_one(self, x: Any, filters: int | None = None) -> Any:
        return blocks.convolution_norm(x, filters or self.filters, 1, momentum=self.momentum)

    def three_by_three(self, x: Any, rate: int = 1) -> Any:
        if not self.separable:
            return blocks.convolution_norm(x, self.filters, 3, momentum=self.momentum, dilation=rate)
        x = keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate, use_bias=False,
                                         depthwise_initializer="he_normal")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=self.momentum)(x))
        return self.one_by_one(x)

    def pyramid(self, x: Any, rates: list[int]) -> Any:
        """Return maps seen with holes of several rates, and as a whole, side by side, brought to `filters`: atrous
        spatial pyramid pooling."""
        whole = self.one_by_one(keras.layers.GlobalAveragePooling2D(keepdims=True)(x))
        branches = [self.one_by_one(x), *(self.three_by_three(x, rate) for rate in rates),
                    blocks.resized(whole, x.shape[1:3])]
        return self.one_by_one(keras.layers.Concatenate()(branches))
