"""YOLOv8: an anchor-free detector whose boxes are distributions of distances."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import blocks
from models.box_coding import Points
from models.registry import register

with epy.lazy_imports():
    import keras

#: The survey that describes the network, since its makers published no paper.
PAPER = "https://arxiv.org/abs/2304.00501"
COCO: dict[str, Any] = {"input_shape": (640, 640, 3), "classes": 80}
#: Filters of the five halvings at width 1, and blocks of the last four at depth 1.
FILTERS, BLOCKS, NECK_BLOCKS = (64, 128, 256, 512, 1024), (3, 6, 6, 3), 3
Level = Literal[3, 4, 5]


def coding(input_shape: tuple[int, int, int], classes: int, *, levels: Sequence[int], bins: int,
           **others: Any) -> Points:
    """Return how the network's boxes are read; the arguments are the builder's."""
    return Points(size=input_shape[:2], strides=tuple(2**level for level in sorted(set(levels))), bins=bins)


@register("yolov8n", task="object_detection", paper=PAPER, at=COCO, coding=coding, depth=1 / 3, width=0.25, most=1024)
@register("yolov8s", task="object_detection", paper=PAPER, at=COCO, coding=coding, depth=1 / 3, width=0.5, most=1024)
@register("yolov8m", task="object_detection", paper=PAPER, at=COCO, coding=coding, depth=2 / 3, width=0.75, most=768)
@register("yolov8l", task="object_detection", paper=PAPER, at=COCO, coding=coding, depth=1.0, width=1.0, most=512)
@register("yolov8x", task="object_detection", paper=PAPER, at=COCO, coding=coding, depth=1.0, width=1.25, most=512)
@register("yolov8", task="object_detection", paper=PAPER, at=COCO, coding=coding)
def yolov8(input_shape: tuple[int, int, int], classes: int, *, depth: blocks.DepthMultiplier = 1 / 3,
           width: blocks.WidthMultiplier = 0.25, most: blocks.Filters = 1024,
           levels: Annotated[list[Level], Field(min_length=1)] = [3, 4, 5],  # noqa: B006  pydantic copies it
           bins: Annotated[int, Field(ge=1)] = 16, activation: Literal["silu", "relu", "relu6"] = "silu",
           batch_norm_momentum: blocks.Momentum = 0.97) -> keras.Model:
    """YOLOv8: a detector without anchors, its heads for boxes and for classes apart.

    Jocher et al., 2023; described in Terven et al., "A Comprehensive Review of YOLO Architectures in Computer Vision",
    2023, figure 17. Written from that description. At the makers' setting, (640, 640, 3) and 80 classes, yolov8n takes
    4.37 G multiply-adds, and yolov8s 14.3 G; 3,157,184 parameters of yolov8n, 11,166,544 of yolov8s, 25,902,624 of
    yolov8m, 43,691,504 of yolov8l and 68,229,632 of yolov8x are trained. The makers count 16 more, the constants that a
    distribution's mean is made with.

    It gives, for every point of its levels, `boxes`, the logits of the distributions of the four distances, and
    `logits`, one for each class, of which several may be true: see `models.box_coding.Points`.

    Args:
        input_shape: (height, width, channels) in pixels, a multiple of the largest stride.
        classes: number of logits of each point.
        depth: multiplier of the blocks in a stage.
        width: multiplier of the filters.
        most: filters, at most, before they are multiplied.
        levels: the strides of the points, 2**level pixels; without level 5 the backbone ends at the largest one.
        bins: whole numbers that a distance's distribution is over, from 0; 1 for the distance itself.
        activation: after each convolution; relu is quicker on processors, and loses less as integers.
        batch_norm_momentum: of the moving statistics.
    """
    chosen = sorted(set(levels))
    largest = 2**chosen[-1]
    if input_shape[0] % largest or input_shape[1] % largest:
        raise ValueError(f"yolov8 needs images whose sides are multiples of {largest}, got {input_shape[0]} x "
                         f"{input_shape[1]}: change data.image.size")
    make = _Layers(activation, batch_norm_momentum)
    filters = [_rounded(min(number, most) * width) for number in FILTERS]
    pixels = blocks.image_input(input_shape, largest, "yolov8")
    maps = _backbone(make, keras.layers.Rescaling(1 / 255)(pixels), filters, depth, chosen[-1])
    found = _neck(make, {level: maps[level] for level in range(chosen[0], chosen[-1] + 1)}, filters, depth)
    return keras.Model(pixels, _heads(make, {level: found[level] for level in chosen}, classes, bins, input_shape),
                       name="yolov8")


class _Layers:
    """Makes the layers of one network."""

    def __init__(self, activation: str, momentum: float):
        self.activation = activation
        self.momentum = momentum

    def convolution(self, x: Any, filters: int, kernel: int = 1, strides: int = 1) -> Any:
        """Return x after a convolution without bias, batch normalization and the activation."""
        if strides > 1:  # as much on either side: where a kernel begins does not depend on the size
            x = keras.layers.ZeroPadding2D(kernel // 2)(x)
        x = keras.layers.Conv2D(filters, kernel, strides, padding="valid" if strides > 1 else "same", use_bias=False,
                                kernel_initializer="he_normal")(x)
        x = keras.layers.BatchNormalization(momentum=self.momentum, epsilon=1e-3)(x)
        return keras.layers.Activation(self.activation)(x)

    def stage(self, x: Any, filters: int, count: int, shortcut: bool) -> Any:
        """Return x after a cross-stage partial block with two convolutions in each of its parts: what every part gives
        is kept ("C2f")."""
        half = filters // 2
        kept = [self.convolution(x, half), self.convolution(x, half)]
        for _ in range(count):
            y = self.convolution(self.convolution(kept[-1], half, 3), half, 3)
            kept.append(keras.layers.Add()([kept[-1], y]) if shortcut else y)
        return self.convolution(keras.layers.Concatenate()(kept), filters)

    def pyramid(self, x: Any, filters: int) -> Any:
        """Return x after pooling over growing windows, one upon the other ("SPPF")."""
        kept = [self.convolution(x, x.shape[-1] // 2)]
        for _ in range(3):
            kept.append(keras.layers.MaxPooling2D(5, 1, padding="same")(kept[-1]))
        return self.convolution(keras.layers.Concatenate()(kept), filters)


def _backbone(make: _Layers, x: Any, filters: Sequence[int], depth: float, last: int) -> dict[int, Any]:
    """Return the maps of levels 2 to the last, by level."""
    maps = {}
    x = make.convolution(x, filters[0], 3, 2)
    for level in range(2, last + 1):
        x = make.convolution(x, filters[level - 1], 3, 2)
        x = make.stage(x, filters[level - 1], _repeated(BLOCKS[level - 2], depth), shortcut=True)
        maps[level] = x
    maps[last] = make.pyramid(x, filters[last - 1])
    return maps


def _neck(make: _Layers, maps: dict[int, Any], filters: Sequence[int], depth: float) -> dict[int, Any]:
    """Return the maps after a way down the levels and one up again (Liu et al., "Path Aggregation Network", 2018)."""
    count, levels = _repeated(NECK_BLOCKS, depth), sorted(maps)
    down = {levels[-1]: maps[levels[-1]]}
    for level in reversed(levels[:-1]):
        # UpSampling2D becomes a tensor of five dimensions on phones, and Resizing, like all layers that prepare data,
        # makes the layers behind it believe that they are trained where a model is called without saying that it is not
        enlarged = keras.ops.image.resize(down[level + 1], maps[level].shape[1:3], interpolation="nearest")
        joined = keras.layers.Concatenate()([enlarged, maps[level]])
        down[level] = make.stage(joined, filters[level - 1], count, shortcut=False)
    up = {levels[0]: down[levels[0]]}
    for level in levels[1:]:
        reduced = make.convolution(up[level - 1], filters[level - 2], 3, 2)
        joined = keras.layers.Concatenate()([reduced, down[level]])
        up[level] = make.stage(joined, filters[level - 1], count, shortcut=False)
    return up


def _heads(make: _Layers, maps: dict[int, Any], classes: int, bins: int,
           input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return the outputs, all points of all levels one after the other."""
    smallest = next(iter(maps.values())).shape[-1]
    units = {"boxes": max(16, smallest // 4, 4 * bins), "logits": max(smallest, min(classes, 100))}
    parts: dict[str, list[Any]] = {"boxes": [], "logits": []}
    for level, x in maps.items():
        # five things in an image
        expected = min(5 / classes / (input_shape[0] * input_shape[1] / 4**level), 0.5)
        biases = {"boxes": 1.0, "logits": math.log(expected / (1 - expected))}
        for name, size in (("boxes", 4 * bins), ("logits", classes)):
            y = make.convolution(make.convolution(x, units[name], 3), units[name], 3)
            y = keras.layers.Conv2D(size, 1, bias_initializer=keras.initializers.Constant(biases[name]))(y)
            if name == "boxes" and bins == 1:
                y = keras.layers.Activation("softplus")(y)
            parts[name].append(keras.layers.Reshape((-1, size))(y))
    return {name: keras.layers.Concatenate(1, name=name)(values) if len(values) > 1 else
            keras.layers.Identity(name=name)(values[0]) for name, values in parts.items()}


def _rounded(filters: float) -> int:
    """Return filters as the next multiple of 8."""
    return int(math.ceil(filters / 8) * 8)


def _repeated(count: int, depth: float) -> int:
    return max(1, round(count * depth))
