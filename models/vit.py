"""Vision Transformers."""
from __future__ import annotations

from typing import Annotated, Literal

from etils import epy
from pydantic import Field

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras
    import numpy as np

PAPER = "https://arxiv.org/abs/2010.11929"
#: Width and heads of the variants; tiny and small are those of Touvron et al. 2021 (DeiT).
VARIANTS = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}


@register("vit_tiny", paper="https://arxiv.org/abs/2012.12877", variant="tiny")
@register("vit_small", paper="https://arxiv.org/abs/2012.12877", variant="small")
@register("vit_base", paper=PAPER, variant="base")
def vit(input_shape: tuple[int, int, int], classes: int, *, variant: Literal["tiny", "small", "base"],
        patch: Annotated[int, Field(ge=1)] = 16, depth: Annotated[int, Field(ge=1)] = 12,
        width: blocks.WidthMultiplier = 1.0, dropout: blocks.Dropout = 0.0,
        stochastic_depth: blocks.Dropout = 0.0) -> keras.Model:
    """ViT: a Transformer encoder over patches of the image, with a class token and learned positions.

    Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021. At the paper's setting, (224, 224, 3), 1000 classes and
    patches of 16: vit_tiny 5,717,416 parameters and 1.3 G multiply-adds, vit_small 22,050,664 and 4.6 G, vit_base
    86,567,656 and 17.6 G.

    Args:
        input_shape: (height, width, channels) in pixels, multiples of `patch`.
        classes: number of logits.
        patch: pixels a side.
        depth: encoder blocks.
        width: multiplier of the tokens' width, at an unchanged number of heads.
        dropout: rate after the embedding and in each encoder block.
        stochastic_depth: rate at which the last residual branch is left out; earlier ones less, in proportion.
    """
    if input_shape[0] % patch or input_shape[1] % patch:
        raise ValueError(f"vit_{variant}: images of {input_shape[0]} x {input_shape[1]} pixels do not divide into "
                         f"patches of {patch}: set model.patch to a divisor of data.image.size")
    layers = keras.layers
    units, heads = VARIANTS[variant]
    units = max(1, round(units * width / heads)) * heads
    pixels = blocks.image_input(input_shape, patch, f"vit_{variant}")
    x = layers.Conv2D(units, patch, patch, name="patch_embedding")(blocks.scaled(pixels))
    x = layers.Reshape((x.shape[1] * x.shape[2], units))(x)
    zero = keras.ops.cast(keras.ops.zeros_like(x[:, :1, 0]), "int32")
    x = layers.Concatenate(axis=1)([layers.Embedding(1, units, name="class_token")(zero), x])
    positions = zero + np.arange(x.shape[1], dtype="int32")
    learned = layers.Embedding(x.shape[1], units, name="positions",
                               embeddings_initializer=keras.initializers.TruncatedNormal(stddev=0.02))
    x = layers.Add()([x, learned(positions)])
    if dropout:
        x = layers.Dropout(dropout)(x)
    for block in range(depth):
        x = blocks.encoder_block(x, heads, 4 * units, "gelu", epsilon=1e-6, dropout=dropout,
                                 drop=stochastic_depth * block / max(1, depth - 1))
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    return keras.Model(pixels, layers.Dense(classes, name="logits")(x[:, 0]), name=f"vit_{variant}")
