"""ConvNeXt: a convolutional network drawn like a Transformer."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from etils import epy
from pydantic import Field

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras

PAPER = "https://arxiv.org/abs/2201.03545"
#: Blocks and filters of each stage.
STAGES = {"tiny": ((3, 3, 9, 3), (96, 192, 384, 768)), "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
          "base": ((3, 3, 27, 3), (128, 256, 512, 1024))}


@register("convnext_tiny", paper=PAPER, variant="tiny")
@register("convnext_small", paper=PAPER, variant="small")
@register("convnext_base", paper=PAPER, variant="base")
def convnext(input_shape: tuple[int, int, int], classes: int, *, variant: Literal["tiny", "small", "base"],
             width: blocks.WidthMultiplier = 1.0, depth: blocks.DepthMultiplier = 1.0,
             patch: Annotated[int, Field(ge=1)] = 4, dropout: blocks.Dropout = 0.0,
             stochastic_depth: blocks.Dropout = 0.1, layer_scale: Annotated[float, Field(gt=0)] = 1e-6) -> keras.Model:
    """ConvNeXt: large depthwise kernels, layer normalization, and pointwise layers that widen four times.

    Liu et al., "A ConvNet for the 2020s", 2022. At the paper's setting, (224, 224, 3) and 1000 classes: convnext_tiny
    28,589,128 parameters and 4.5 G multiply-adds, convnext_small 50,223,688 and 8.7 G, convnext_base 88,591,464 and
    15.4 G.

    Args:
        input_shape: (height, width, channels) in pixels; at least 8 patches a side.
        classes: number of logits.
        width: multiplier of the filters.
        depth: multiplier of the blocks of each stage, rounded up.
        patch: pixels a side of the patches that the first convolution sees; 4 in the paper, less for small images.
        dropout: rate before the classifier.
        stochastic_depth: rate at which the last residual branch is left out; earlier ones less, in proportion.
        layer_scale: what each residual branch is multiplied by at the start of the training.
    """
    layers = keras.layers
    counts = blocks.repeats(STAGES[variant][0], depth)
    pixels = blocks.image_input(input_shape, 8 * patch, f"convnext_{variant}")
    x, done = blocks.scaled(pixels), 0
    for stage, (count, filters) in enumerate(zip(counts, STAGES[variant][1], strict=True)):
        filters = max(1, round(filters * width))
        if stage == 0:
            x = normalize(layers.Conv2D(filters, patch, patch, name="stem")(x))
        else:
            x = layers.Conv2D(filters, 2, 2, name=f"downsample_{stage}")(normalize(x))
        for _ in range(count):
            x = block(x, filters, stochastic_depth * done / max(1, sum(counts) - 1), layer_scale)
            done += 1
    x = normalize(layers.GlobalAveragePooling2D()(x))
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(pixels, layers.Dense(classes, name="logits")(x), name=f"convnext_{variant}")


def block(x: Any, filters: int, drop: float, layer_scale: float) -> Any:
    """A residual block (figure 4 of the paper). The layer scale is a 1 x 1 depthwise convolution: a factor per
    channel."""
    layers = keras.layers
    branch = normalize(layers.DepthwiseConv2D(7, padding="same")(x))
    branch = layers.Dense(filters)(layers.Activation("gelu")(layers.Dense(4 * filters)(branch)))
    scale = keras.initializers.Constant(layer_scale)
    branch = layers.DepthwiseConv2D(1, use_bias=False, depthwise_initializer=scale)(branch)
    return layers.Add()([x, blocks.stochastic_depth(branch, drop)])


def normalize(x: Any) -> Any:
    return keras.layers.LayerNormalization(epsilon=1e-6)(x)
