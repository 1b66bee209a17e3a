"""YOLOv3: Darknet-53, and a box, an objectness and classes for three anchors at each cell of three levels."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.anchors import AnchorCells
from models.detection_heads import PRIOR, joined_places
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1804.02767"
#: Height and width in pixels of 416, from the finest level to the coarsest (section 2.3 of the paper).
ANCHORS = ((13, 10), (30, 16), (23, 33), (61, 30), (45, 62), (119, 59), (90, 116), (198, 156), (326, 373))
PAPER_SIZE, PER_LEVEL = 416, 3
#: Residual blocks of Darknet-53 at each level.
BLOCKS = (1, 2, 8, 8, 4)
LEVELS = (3, 4, 5)
Anchor = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


def coding(input_shape: tuple[int, int, int], classes: int, *, anchors: Sequence[Anchor] | None,
           **others: Any) -> AnchorCells:
    """Return how the network's boxes are read; the arguments are the builder's."""
    scale = min(input_shape[:2]) / PAPER_SIZE
    chosen = anchors or [(height * scale, width * scale) for height, width in ANCHORS]
    return AnchorCells(size=input_shape[:2], strides=tuple(2**level for level in LEVELS), shapes=tuple(
        tuple(chosen[first:first + PER_LEVEL]) for first in range(0, len(chosen), PER_LEVEL)))


@register("yolov3", task="object_detection", paper=PAPER, at={"input_shape": (416, 416, 3), "classes": 80},
          coding=coding)
def yolov3(input_shape: tuple[int, int, int], classes: int, *, width: blocks.WidthMultiplier = 1.0,
           depth: blocks.DepthMultiplier = 1.0,
           anchors: Annotated[list[Anchor], Field(min_length=9, max_length=9)] | None = None,
           batch_norm_momentum: blocks.Momentum = 0.97) -> keras.Model:
    """YOLOv3, on Darknet-53.

    Redmon and Farhadi, "YOLOv3: An Incremental Improvement", 2018. At the paper's setting, (416, 416, 3) and 80
    classes, 61,949,149 parameters are trained, as many as the authors' file of weights holds beside its moving
    statistics, and 32.9 G multiply-adds are taken; the paper says 65.9 G operations, a multiply-add being two.

    It gives, for every anchor, `boxes`, `objectness` and `logits`, see `models.anchors.AnchorCells`.

    Args:
        input_shape: (height, width, channels) in pixels, a multiple of 32.
        classes: number of logits of each anchor.
        width: multiplier of the filters.
        depth: multiplier of the residual blocks of each level.
        anchors: nine heights and widths in pixels, three for each level from the finest on; by default the paper's, as
            large in proportion to the image.
        batch_norm_momentum: of the moving statistics.
    """
    if input_shape[0] % 32 or input_shape[1] % 32:
        raise ValueError(f"yolov3 needs images whose sides are multiples of 32, got {input_shape[0]} x "
                         f"{input_shape[1]}: change data.image.size")
    pixels = blocks.image_input(input_shape, 32, "yolov3")

    def convolution(x: Any, filters: int, kernel: int, strides: int = 1) -> Any:
        if strides > 1:  # as much on either side, as Darknet has it
            x = keras.layers.ZeroPadding2D(1)(x)
        x = keras.layers.Conv2D(filters, kernel, strides, padding="valid" if strides > 1 else "same", use_bias=False,
                                kernel_initializer="he_normal")(x)
        x = keras.layers.BatchNormalization(momentum=batch_norm_momentum)(x)
        return keras.layers.LeakyReLU(0.1)(x)

    def filters(number: int) -> int:
        return max(8, 8 * round(number * width / 8))

    x, maps = convolution(keras.layers.Rescaling(1 / 255)(pixels), filters(32), 3), {}
    for level, count in enumerate(blocks.repeats(BLOCKS, depth), start=1):
        here = filters(32 * 2**level)
        x = convolution(x, here, 3, 2)
        for _ in range(count):
            x = keras.layers.Add()([x, convolution(convolution(x, here // 2, 1), here, 3)])
        maps[level] = x
    found: dict[int, Any] = {}
    before = None
    for level in reversed(LEVELS):
        here = filters(16 * 2**level)
        x = maps[level]
        if before is not None:  # UpSampling2D becomes a tensor of five dimensions on phones
            enlarged = keras.ops.image.resize(convolution(before, here, 1), x.shape[1:3], interpolation="nearest")
            x = keras.layers.Concatenate()([enlarged, x])
        for _ in range(2):
            x = convolution(convolution(x, here, 1), 2 * here, 3)
        before = convolution(x, here, 1)
        found[level] = convolution(before, 2 * here, 3)
    return keras.Model(pixels, _heads([found[level] for level in LEVELS], classes), name="yolov3")


def _heads(maps: Sequence[Any], classes: int) -> dict[str, Any]:
    """Return the outputs. Each is made by a convolution of its own, which together are the paper's one."""
    prior = -math.log((1 - PRIOR) / PRIOR)
    return {name: joined_places([keras.layers.Conv2D(
        PER_LEVEL * size, 1, bias_initializer=keras.initializers.Constant(bias))(x) for x in maps], size, name)
        for name, size, bias in (("boxes", 4, 0.0), ("objectness", 1, prior), ("logits", classes, 0.0))}
