"""UNet++: a U-Net of every depth in one, their maps joined by dense skips."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.outputs import AUXILIARY
from models.registry import register
from models.unet import Convolutions, enlarged, framed, logits

with epy.lazy_imports():
    import keras


@register("unet_plus_plus", task="semantic_segmentation", paper="https://arxiv.org/abs/1807.10165",
          at={"input_shape": (512, 512, 3), "classes": 1})
def unet_plus_plus(input_shape: tuple[int, int, int], classes: int, *, width: blocks.Filters = 32,
                   depth: Annotated[int, Field(ge=1, le=6)] = 4, auxiliary: Annotated[float, Field(ge=0)] = 1.0,
                   batch_norm: bool = False, batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """UNet++: what crosses from the contracting to the expanding path is convolved on its way.

    Its outputs are {"logits", "auxiliary_1", …}, each (batch, height, width, classes), the auxiliary ones those of the
    U-Nets of lesser depth inside, or logits alone without them.

    Zhou et al., "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", 2018, figure 1. At the paper's
    setting, (512, 512, 3), 1 class and 32 to 512 filters, 9,042,276 parameters with its auxiliary heads (the paper's
    tables say 9.04 M), 9,042,177 without them, and 119 G multiply-adds. An image whose sides are no multiples of
    2**depth is padded with black inside the model, and its logits are cut to its size.

    Args:
        input_shape: (height, width, channels) in pixels; at least 2**depth x 2**depth.
        classes: number of logits of each pixel.
        width: filters of the first step; every further one has twice as many.
        depth: halvings of the resolution.
        auxiliary: weight of the loss of each U-Net of lesser depth (deep supervision, section 3.2); 0 leaves them out.
        batch_norm: normalize after each 3 x 3 convolution.
        batch_norm_momentum: of the moving statistics; 0.9 suits trainings of a few hundred steps.
    """
    make = Convolutions(batch_norm, batch_norm_momentum)
    pixels = blocks.image_input(input_shape, 2**depth, "unet_plus_plus")
    x, borders = framed(pixels, 2**depth)
    rows: list[list[Any]] = []  # of each step, its maps from left to right
    for step in range(depth + 1):
        rows.append([make.twice(x, width * 2**step)])
        for column in range(1, step + 1):  # the diagonal that this step completes
            row, filters = rows[step - column], width * 2**(step - column)
            below = enlarged(rows[step - column + 1][column - 1], filters)
            row.append(make.twice(keras.layers.Concatenate()([*row, below]), filters))
        x = keras.layers.MaxPooling2D(2)(rows[step][0]) if step < depth else x
    first = rows[0]
    outputs = {"logits": logits(first[depth], classes, borders)}
    if auxiliary:
        names = {f"{AUXILIARY}_{column}": column for column in range(1, depth)}
        outputs |= {name: logits(first[column], classes, borders, name) for name, column in names.items()}
    return keras.Model(pixels, outputs if len(outputs) > 1 else outputs["logits"], name="unet_plus_plus")
