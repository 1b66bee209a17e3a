"""BlazeFace: a small network that finds faces and six key points of each."""
from __future__ import annotations

import math
from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.anchors import Anchors
from models.detection_heads import PRIOR, joined_places
from models.registry import register

with epy.lazy_imports():
    import keras

#: Filters of the single blocks before each halving of the resolution, and of the double ones, outer and inner.
FIRST, SECOND, OUTER, INNER = 24, 48, 96, 24
#: Anchors of a cell at each stride: figure 2 of the paper.
PER_CELL = {8: 2, 16: 6}
#: Sides of the smallest and of the largest anchor, as shares of the image's shorter side.
Scales = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]


def coding(input_shape: tuple[int, int, int], classes: int, *, scales: Scales, points: int, **others: Any) -> Anchors:
    """Return how the network's boxes are read; the arguments are the builder's."""
    count, side = sum(PER_CELL.values()), min(input_shape[:2])
    sides = [side * scales[0] * (scales[1] / scales[0])**(number / (count - 1)) for number in range(count)]
    fine = PER_CELL[8]
    return Anchors(size=input_shape[:2], strides=tuple(PER_CELL), variances=(0.1, 0.2), key_points=points,
                   shapes=tuple(tuple((side, side) for side in part) for part in (sides[:fine], sides[fine:])))


@register("blazeface", task="object_detection", paper="https://arxiv.org/abs/1907.05047",
          at={"input_shape": (128, 128, 3), "classes": 1}, coding=coding)
def blazeface(input_shape: tuple[int, int, int], classes: int, *,
              points: Annotated[int, Field(ge=0, le=100)] = 6, width: blocks.WidthMultiplier = 1.0,
              scales: Scales = (0.1, 0.9), batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """BlazeFace: depthwise convolutions of 5 x 5 pixels, two maps, square anchors, and key points for each box.

    Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019, table 4 and figures 1
    and 2. At the paper's setting, (128, 128, 3) and 6 key points, 71,272 parameters are trained and 34 M
    multiply-adds are taken. Batch normalization is added, which the paper says nothing of, and the heads are
    convolutions of one pixel.

    It gives, for every anchor, `boxes`, `logits` and, where there are any, `key_points`, see `models.anchors.Anchors`.
    At the paper's setting that is two anchors in each of 16 x 16 cells and six in each of 8 x 8: 896.

    Args:
        input_shape: (height, width, channels) in pixels, a multiple of 16.
        classes: number of logits of each anchor.
        points: key points of each box; as many as the data have.
        width: multiplier of the filters.
        scales: sides of the smallest and of the largest anchor, as shares of the image's shorter side; the six others
            are between them, each as many times as large as the one before.
        batch_norm_momentum: of the moving statistics.
    """
    if scales[0] >= scales[1]:
        raise ValueError(f"blazeface: scales are {scales[0]} and {scales[1]}: the smaller comes first")
    read = coding(input_shape, classes, scales=scales, points=points)
    pixels = blocks.image_input(input_shape, 32, "blazeface")
    if any(size % 16 for size in input_shape[:2]):
        raise ValueError(f"blazeface needs images whose sides are multiples of 16, got {input_shape[0]} x "
                         f"{input_shape[1]}")
    first, second, outer, inner = (max(8, round(number * width / 8) * 8) for number in (FIRST, SECOND, OUTER, INNER))
    make = _Blocks(batch_norm_momentum)
    x = keras.layers.ReLU()(make.normalized(keras.layers.Conv2D(
        first, 5, 2, padding="same", use_bias=False, kernel_initializer="he_normal")(blocks.scaled(pixels))))
    for filters, strides in ((first, 1), (first, 1), (second, 2), (second, 1), (second, 1)):
        x = make.block(x, [filters], strides)
    maps = []
    for _ in PER_CELL:
        for strides in (2, 1, 1):
            x = make.block(x, [inner, outer], strides)
        maps.append(x)
    prior = -math.log((1 - PRIOR) / PRIOR)
    outputs = {}
    for name, size, bias in (("boxes", 4, 0.0), ("logits", classes, prior), ("key_points", 2 * points, 0.0)):
        if size:
            found = [_head(x, size * len(shapes), bias) for x, shapes in zip(maps, read.shapes, strict=True)]
            outputs[name] = joined_places(found, size, name)
    return keras.Model(pixels, outputs, name="blazeface")


class _Blocks:
    """Makes the blocks of one network.

    Args:
        momentum: of the moving statistics.
    """

    def __init__(self, momentum: float):
        self.momentum = momentum

    def block(self, x: Any, filters: list[int], strides: int) -> Any:
        """Return x after one or two depthwise convolutions, each with a pointwise one, and what goes past them: x,
        reduced by the largest values, and filled up with channels of zeros (figure 1 of the paper)."""
        y = x
        for place, number in enumerate(filters):
            y = keras.layers.DepthwiseConv2D(5, strides if place == 0 else 1, padding="same", use_bias=False,
                                             depthwise_initializer="he_normal")(y)
            y = self.normalized(keras.layers.Conv2D(number, 1, use_bias=False, kernel_initializer="he_normal")(y))
            if place < len(filters) - 1:
                y = keras.layers.ReLU()(y)
        if strides > 1:
            x = keras.layers.MaxPooling2D(strides)(x)
        if missing := filters[-1] - x.shape[-1]:
            x = keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, missing]])
        return keras.layers.ReLU()(keras.layers.Add()([x, y]))

    def normalized(self, x: Any) -> Any:
        return keras.layers.BatchNormalization(momentum=self.momentum)(x)


def _head(x: Any, units: int, bias: float) -> Any:
    """Return what is said of the places of a map."""
    return keras.layers.Conv2D(units, 1, bias_initializer=keras.initializers.Constant(bias),
                               kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))(x)
