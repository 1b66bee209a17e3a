"""GoogLeNet, the first Inception network."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.outputs import AUXILIARY
from models.registry import register

with epy.lazy_imports():
    import keras

#: Filters of each inception module: 1 x 1, 3 x 3 reduce, 3 x 3, 5 x 5 reduce, 5 x 5, pool projection (table 1 of the
#: paper).
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)}
#: The modules that an auxiliary head looks at.
WATCHED = ("4a", "4d")


@register("googlenet", paper="https://arxiv.org/abs/1409.4842")
def googlenet(input_shape: tuple[int, int, int], classes: int, *, width: blocks.WidthMultiplier = 1.0,
              dropout: blocks.Dropout = 0.4, auxiliary: Annotated[float, Field(ge=0)] = 0.3, batch_norm: bool = False,
              skip_halvings: Annotated[int, Field(ge=0, le=2)] = 0) -> keras.Model:
    """GoogLeNet: modules of parallel convolutions, and two auxiliary classifiers that only training sees.

    Its outputs are {"logits", "auxiliary_1", "auxiliary_2"}, each (batch, classes), or logits alone without the
    auxiliary classifiers.

    Szegedy et al., "Going Deeper with Convolutions", 2015. At the paper's setting, (224, 224, 3) and 1000 classes:
    6,998,552 parameters and 1.6 G multiply-adds, and 13,378,280 parameters while it trains with its auxiliary heads.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        width: multiplier of the filters.
        dropout: rate before the classifier; the auxiliary ones have 0.7.
        auxiliary: weight of each auxiliary head's loss; 0 leaves them out.
        batch_norm: normalize after each convolution, in place of the local response normalization, for short trainings.
        skip_halvings: how many of the first two halvings of the resolution to leave out, for small images.
    """
    layers = keras.layers

    def convolution(x, filters: int, kernel: int, strides: int = 1):
        x = layers.Conv2D(max(1, round(filters * width)), kernel, strides, padding="same",
                          kernel_initializer="he_normal")(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x) if batch_norm else x)

    def pool(x, strides: int = 2):
        return layers.MaxPooling2D(3, strides, padding="same")(x)

    def normalize(x):
        return x if batch_norm else blocks.local_response_normalization(x, bias=1.0)

    def inception_module(x, ones: int, reduce_3: int, threes: int, reduce_5: int, fives: int, projection: int):
        return layers.Concatenate()([
            convolution(x, ones, 1), convolution(convolution(x, reduce_3, 1), threes, 3),
            convolution(convolution(x, reduce_5, 1), fives, 5), convolution(pool(x, 1), projection, 1)])

    def auxiliary_head(x, name: str):
        side = min(x.shape[1:3])
        x = layers.AveragePooling2D(5, 3)(x) if side >= 5 else x
        x = layers.Flatten()(convolution(x, 128, 1))
        x = layers.Dropout(0.7)(layers.Dense(max(1, round(1024 * width)), "relu")(x))
        return layers.Dense(classes, name=name)(x)

    pixels = blocks.image_input(input_shape, 32, "googlenet")
    x = convolution(blocks.scaled(pixels), 64, 7, 1 if skip_halvings > 0 else 2)
    x = normalize(pool(x, 1 if skip_halvings > 1 else 2))
    x = pool(normalize(convolution(convolution(x, 64, 1), 192, 3)))
    heads: dict[str, Any] = {}
    for name, filters in MODULES.items():
        x = inception_module(x, *filters)
        if auxiliary and name in WATCHED:
            head = f"{AUXILIARY}_{len(heads) + 1}"
            heads[head] = auxiliary_head(x, head)
        if name in ("3b", "4e"):
            x = pool(x)
    logits = blocks.logits(x, classes, dropout)
    return keras.Model(pixels, {"logits": logits, **heads} if heads else logits, name="googlenet")
