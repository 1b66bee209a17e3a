"""Faster R-CNN: a network that proposes regions, and one that says what is in them."""
from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import backbones, blocks
from models.anchors import Anchors
from models.detection_heads import PRIOR, joined_places
from models.outputs import AUXILIARY
from models.pyramid import feature_pyramid
from models.regions import Regions, proposals_class, region_align_class
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/1506.01497"
RATIOS = (0.5, 1.0, 2.0)
#: Rows and columns that a region is cut into.
PARTS = 7
#: Regions of one level that overlap more are one.
OVERLAP = 0.7
#: What the network that proposes regions gives, which training alone looks at.
ANCHOR_BOXES, ANCHOR_OBJECTNESS = f"{AUXILIARY}_boxes", f"{AUXILIARY}_objectness"
Count = Annotated[int, Field(ge=1)]
#: Of the pyramid: the first and the last.
PyramidLevels = tuple[Literal[2, 3, 4], Annotated[int, Field(ge=3, le=7)]]


def coding(input_shape: tuple[int, int, int], classes: int, *, levels: PyramidLevels, anchor: float, proposals: int,
           **others: Any) -> Regions:
    """Return how the network's boxes are read; the arguments are the builder's."""
    strides = tuple(2**level for level in range(levels[0], levels[1] + 1))
    anchors = Anchors(size=input_shape[:2], strides=strides, shapes=tuple(
        tuple((anchor * stride / math.sqrt(ratio), anchor * stride * math.sqrt(ratio)) for ratio in RATIOS)
        for stride in strides))
    return Regions(size=input_shape[:2], anchors=anchors, count=proposals)


@register("faster_rcnn", task="object_detection", paper=PAPER, at={"input_shape": (800, 800, 3), "classes": 90},
          coding=coding)
def faster_rcnn(input_shape: tuple[int, int, int], classes: int, *, backbone: backbones.Backbone = "resnet50",
                levels: PyramidLevels = (2, 6), filters: blocks.Filters = 256,
                anchor: Annotated[float, Field(gt=0)] = 8.0, candidates: Count = 1000, proposals: Count = 1000,
                units: Count = 1024, batch_norm: bool = False) -> keras.Model:
    """Faster R-CNN on a feature pyramid: regions are proposed from anchors, and seen again one by one.

    Ren et al., "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks", 2015, with the pyramid
    of Lin et al., 2017, and the alignment of He et al., "Mask R-CNN", 2017. With a ResNet-50, (800, 800, 3) and 91
    classes, one of them the background, 41,888,086 parameters and 124 G multiply-adds; torchvision counts 41,755,286
    of them, without what the backbone's normalization and the biases before it hold.

    It gives `proposals`, `boxes` and `logits`, see `models.regions.Regions`. What the anchors give, training alone
    looks at.

    Args:
        input_shape: (height, width, channels) in pixels.
        classes: without the background.
        backbone: a builder of classifiers, or {name: its settings}.
        levels: the first and the last of the pyramid; level n has 1 / 2**n of the image's resolution. Those behind the
            backbone's last, such as P6, are every second place of the one before; regions are proposed from P6, and
            read from P5 and finer ones.
        filters: of the pyramid.
        anchor: side of the square anchors, in strides of their level.
        candidates: best anchors of each level that regions are chosen from, at most.
        proposals: regions that are seen, at most.
        units: of the two dense layers that see a region.
        batch_norm: normalize in the pyramid, for trainings that begin without trained weights.
    """
    if levels[1] < levels[0]:
        raise ValueError(f"faster_rcnn: levels are {levels[0]} and {levels[1]}: the finest comes first")
    read = coding(input_shape, classes, levels=levels, anchor=anchor, proposals=proposals)
    layers = keras.layers
    base = backbones.backbone(backbone, input_shape, range(levels[0], min(levels[1], 5) + 1))
    maps = feature_pyramid({int(name[1:]): value for name, value in base.output.items()}, filters, levels[1], "pool",
                           batch_norm)
    objectness, deltas = _proposed(maps, filters)
    anchors = read.anchors
    regions = proposals_class()(anchors.size, anchors.strides, anchors.shapes, candidates, proposals, OVERLAP,
                                name="proposals", dtype="float32")([objectness, deltas])
    seen = [maps[level] for level in sorted(maps) if level <= 5]
    x = region_align_class()(anchors.strides[:len(seen)], PARTS, name="regions", dtype="float32")([regions, *seen])
    x = layers.Reshape((proposals, PARTS**2 * filters))(x)
    for number in range(2):
        x = layers.Dense(units, "relu", kernel_initializer="he_normal", name=f"region_units_{number}")(x)
    normal = keras.initializers.RandomNormal
    logits = layers.Dense(classes + 1, kernel_initializer=normal(stddev=0.01), name="logits")(x)
    boxes = layers.Dense(4 * (classes + 1), kernel_initializer=normal(stddev=0.001), name="boxes")(x)
    return keras.Model(base.input, {"proposals": regions, "boxes": boxes, "logits": logits,
                                    ANCHOR_BOXES: deltas, ANCHOR_OBJECTNESS: objectness}, name="faster_rcnn")


def _proposed(maps: dict[int, Any], filters: int) -> tuple[Any, Any]:
    """Return, for all anchors, the logit of holding anything, (batch, anchors, 1), and the way to their box, (batch,
    anchors, 4). All maps share the layers."""
    normal = keras.initializers.RandomNormal(stddev=0.01)
    around = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer=normal,
                                 name="proposal_around")
    objectness = keras.layers.Conv2D(len(RATIOS), 1, kernel_initializer=normal, name="proposal_objectness",
                                     bias_initializer=keras.initializers.Constant(-math.log((1 - PRIOR) / PRIOR)))
    deltas = keras.layers.Conv2D(4 * len(RATIOS), 1, kernel_initializer=normal, name="proposal_boxes")
    near = [around(maps[level]) for level in sorted(maps)]
    return (joined_places([objectness(x) for x in near], 1, ANCHOR_OBJECTNESS),
            joined_places([deltas(x) for x in near], 4, ANCHOR_BOXES))
