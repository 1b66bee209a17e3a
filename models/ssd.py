"""SSD and SSDLite: detectors with anchors on the maps of a classifier and on coarser ones behind it."""
from __future__ import annotations

import itertools
import math
from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import backbones, blocks
from models.anchors import Anchors
from models.detection_heads import PRIOR, joined_places
from models.registry import register

with epy.lazy_imports():
    import keras

SSD, SSDLITE = "https://arxiv.org/abs/1512.02325", "https://arxiv.org/abs/1801.04381"
AT: dict[str, Any] = {"input_shape": (320, 320, 3), "classes": 80}
#: Widths over heights of the anchors of a cell; a sixth is between this and the next level's square one.
RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)
#: Filters of the maps behind the backbone.
FILTERS = (512, 256, 256, 128)
Level = Annotated[int, Field(ge=2, le=5)]
Scale = Annotated[float, Field(gt=0, le=1)]


def coding(input_shape: tuple[int, int, int], classes: int, *, first: int, last: int, further: int,
           scales: tuple[float, float], **others: Any) -> Anchors:
    """Return how the network's boxes are read; the arguments are the builder's."""
    maps, side = last + 1 - first + further, min(input_shape[:2])
    step = (scales[1] - scales[0]) / max(1, maps - 1)
    steps = [*(scales[0] + step * number for number in range(maps)), 1.0]
    return Anchors(size=input_shape[:2], strides=tuple(2**(first + number) for number in range(maps)), shapes=tuple(
        (*((side * scale / math.sqrt(ratio), side * scale * math.sqrt(ratio)) for ratio in RATIOS),
         (side * math.sqrt(scale * larger),) * 2)
        for scale, larger in itertools.pairwise(steps)), variances=(0.1, 0.2))


@register("ssd_mobilenet_v2", task="object_detection", paper=SSD, at=AT, coding=coding, separable=False)
@register("ssdlite", task="object_detection", paper=SSDLITE, at=AT, coding=coding, separable=True)
def ssd(input_shape: tuple[int, int, int], classes: int, *, separable: bool,
        backbone: backbones.Backbone = "mobilenet_v2", first: Level = 4, last: Level = 5,
        further: Annotated[int, Field(ge=0, le=4)] = 4, width: blocks.WidthMultiplier = 1.0,
        scales: tuple[Scale, Scale] = (0.2, 0.95),
        batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """SSD on a MobileNetV2, and SSDLite, whose heads are separable convolutions.

    Liu et al., "SSD: Single Shot MultiBox Detector", 2016, and Sandler et al., "MobileNetV2", 2018, section 6.2. At the
    second's setting, (320, 320, 3) and 80 classes, ssdlite trains 4,466,064 parameters and takes 0.85 G multiply-adds,
    where the paper says 4.3 M and 0.8 G; ssd_mobilenet_v2 trains 18,160,208 and takes 2.4 G. Every class is a yes-or-no
    question, as in TensorFlow's Object Detection API, and there is no background class.

    It gives, for every anchor, `boxes` and `logits`, see `models.anchors.Anchors`.

    Args:
        input_shape: (height, width, channels) in pixels.
        classes: number of logits of each anchor.
        separable: the heads and the further maps are made by separable convolutions.
        backbone: a builder of classifiers, or {name: its settings}.
        first, last: levels of the backbone's maps, from the finest on; level n has 1 / 2**n of the image's resolution.
        further: maps behind the backbone's last, each with half the resolution of the one before.
        width: multiplier of their filters.
        scales: sides of the square anchors of the first and of the last map, as shares of the image's shorter side.
        batch_norm_momentum: of the moving statistics behind the backbone.
    """
    if last < first:
        raise ValueError(f"{'ssdlite' if separable else 'ssd_mobilenet_v2'}: last is {last}, and first is {first}: the "
                         "finest map comes first")
    read = coding(input_shape, classes, first=first, last=last, further=further, scales=scales)
    make = _Layers(separable, batch_norm_momentum)
    base = backbones.backbone(backbone, input_shape, range(first, last + 1))
    maps = [base.output[f"p{level}"] for level in range(first, last + 1)]
    for filters in FILTERS[:further]:
        filters = max(8, round(filters * width))
        maps.append(make.spread(make.convolution(maps[-1], filters // 2, 1), filters, 2))
    boxes = [make.head(x, 4 * len(shapes), 0.0) for x, shapes in zip(maps, read.shapes, strict=True)]
    prior = -math.log((1 - PRIOR) / PRIOR)
    logits = [make.head(x, classes * len(shapes), prior) for x, shapes in zip(maps, read.shapes, strict=True)]
    return keras.Model(base.input, {"boxes": joined_places(boxes, 4, "boxes"),
                                    "logits": joined_places(logits, classes, "logits")}, name="ssd")


class _Layers:
    """Makes the layers of one network."""

    def __init__(self, separable: bool, momentum: float):
        self.separable = separable
        self.momentum = momentum

    def convolution(self, x: Any, filters: int, kernel: int, strides: int = 1) -> Any:
        """Return x after a convolution without bias, batch normalization and ReLU6."""
        x = keras.layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False,
                                kernel_initializer="he_normal")(x)
        return self._normalized(x)

    def spread(self, x: Any, filters: int, strides: int = 1) -> Any:
        """Return x after a convolution of 3 x 3 that may be separable."""
        if not self.separable:
            return self.convolution(x, filters, 3, strides)
        return self.convolution(self._depthwise(x, strides), filters, 1)

    def head(self, x: Any, units: int, bias: float) -> Any:
        """Return what is said of the places of a map."""
        kernel = 3
        if self.separable:
            x, kernel = self._depthwise(x), 1
        return keras.layers.Conv2D(units, kernel, padding="same", bias_initializer=keras.initializers.Constant(bias),
                                   kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))(x)

    def _depthwise(self, x: Any, strides: int = 1) -> Any:
        x = keras.layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False,
                                         depthwise_initializer="he_normal")(x)
        return self._normalized(x)

    def _normalized(self, x: Any) -> Any:
        return keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(momentum=self.momentum)(x))
