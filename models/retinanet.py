"""RetinaNet: a detector with anchors on a feature pyramid, whose loss looks past what is easy."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import backbones, blocks
from models.anchors import Anchors
from models.detection_heads import PRIOR, joined_places
from models.pyramid import feature_pyramid
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1708.02002"
#: Widths over heights, and how the three sizes of an octave follow each other.
RATIOS, OCTAVE = (0.5, 1.0, 2.0), (1.0, 2**(1 / 3), 2**(2 / 3))


def coding(input_shape: tuple[int, int, int], classes: int, *, levels: Sequence[int], anchor: float,
           **others: Any) -> Anchors:
    """Return how the network's boxes are read; the arguments are the builder's."""
    strides = tuple(2**level for level in range(levels[0], levels[1] + 1))
    return Anchors(size=input_shape[:2], strides=strides, shapes=tuple(
        tuple((anchor * stride * scale / math.sqrt(ratio), anchor * stride * scale * math.sqrt(ratio))
              for scale in OCTAVE for ratio in RATIOS) for stride in strides))


@register("retinanet", task="object_detection", paper=PAPER, at={"input_shape": (800, 800, 3), "classes": 91},
          coding=coding)
def retinanet(input_shape: tuple[int, int, int], classes: int, *, backbone: backbones.Backbone = "resnet50",
              levels: tuple[Literal[2, 3, 4], Annotated[int, Field(ge=3, le=7)]] = (3, 7),
              filters: blocks.Filters = 256, depth: Annotated[int, Field(ge=1)] = 4,
              anchor: Annotated[float, Field(gt=0)] = 4.0, batch_norm: bool = False) -> keras.Model:
    """RetinaNet: anchors on a feature pyramid, and heads that all levels share.

    Lin et al., "Focal Loss for Dense Object Detection", 2017. With a ResNet-50, (800, 800, 3) and 91 classes,
    34,147,799 parameters and 126 G multiply-adds; torchvision counts 34,014,999 of them, without what the backbone's
    normalization and the biases before it hold.

    It gives, for every anchor, `boxes` and `logits`, see `models.anchors.Anchors`.

    Args:
        input_shape: (height, width, channels) in pixels.
        classes: number of logits of each anchor.
        backbone: a builder of classifiers, or {name: its settings}.
        levels: the first and the last of the pyramid; level n has 1 / 2**n of the image's resolution.
        filters: of the pyramid and of the heads.
        depth: convolutions of a head before its last one.
        anchor: side of the smallest anchors, in strides of their level.
        batch_norm: normalize in the pyramid and in the heads, for trainings that begin without trained weights.
    """
    if levels[1] < levels[0]:
        raise ValueError(f"retinanet: levels are {levels[0]} and {levels[1]}: the finest comes first")
    read = coding(input_shape, classes, levels=levels, anchor=anchor)
    base = backbones.backbone(backbone, input_shape, range(levels[0], min(levels[1], 5) + 1))
    maps = {int(name[1:]): value for name, value in base.output.items()}
    found = feature_pyramid(maps, filters, levels[1], "convolution", batch_norm)
    per_cell = len(RATIOS) * len(OCTAVE)
    outputs = {}
    for name, size, bias in (("boxes", 4, 0.0), ("logits", classes, -math.log((1 - PRIOR) / PRIOR))):
        head = _head(filters, depth, per_cell * size, bias, batch_norm, name)
        outputs[name] = joined_places([head(found[level]) for level in sorted(found)], size, name)
    assert outputs["boxes"].shape[1] == read.count
    return keras.Model(base.input, outputs, name="retinanet")


def _head(filters: int, depth: int, units: int, bias: float, batch_norm: bool, name: str) -> Any:
    """Return a function of a map to what is said of its places. All maps share its convolutions; each has its own
    normalization, since what is seen differs from level to level."""
    normal = keras.initializers.RandomNormal(stddev=0.01)
    shared = [keras.layers.Conv2D(filters, 3, padding="same", use_bias=not batch_norm, name=f"{name}_{step}",
                                  kernel_initializer="he_normal" if batch_norm else normal) for step in range(depth)]
    last = keras.layers.Conv2D(units, 3, padding="same", kernel_initializer=normal, name=f"{name}_last",
                               bias_initializer=keras.initializers.Constant(bias))

    def head(x: Any) -> Any:
        for convolution in shared:
            x = convolution(x)
            if batch_norm:
                x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.ReLU()(x)
        return last(x)

    return head
