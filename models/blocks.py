"""Building blocks that families share, with the names their papers give them."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

with epy.lazy_imports():
    import keras

# Settings that families have in common.
Filters = Annotated[int, Field(ge=1)]
WidthMultiplier = Annotated[float, Field(gt=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
WeightDecay = Annotated[float, Field(ge=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def picture(input_shape: tuple[int, int, int], smallest: int, name: str) -> Any:
    """The input of a model, raw pixels 0..255. Raises ValueError for pictures below `smallest` pixels a side."""
    if min(input_shape[:2]) < smallest:
        raise ValueError(f"{name} needs pictures of at least {smallest} x {smallest} pixels, got {input_shape[0]} x {input_shape[1]}: "
                         f"set data.image.size to {smallest} or more")
    return keras.Input(input_shape, name="image")


def scaled(pixels: Any) -> Any:
    """Pixels 0..255 as -1..1."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)


def convolution_norm(x: Any, filters: int, kernel: int, strides: int = 1, *, activation: str | None = "relu", momentum: float = 0.9,
                     weight_decay: float = 0.0) -> Any:
    """A convolution without bias, batch normalization, and an activation."""
    x = keras.layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, kernel_initializer="he_normal",
                            kernel_regularizer=keras.regularizers.L2(weight_decay) if weight_decay else None)(x)
    x = keras.layers.BatchNormalization(momentum=momentum)(x)
    return keras.layers.Activation(activation)(x) if activation else x


def logits(x: Any, classes: int, dropout: float = 0.0) -> Any:
    """Global average pooling, dropout, and a dense layer of logits."""
    x = keras.layers.GlobalAveragePooling2D()(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return keras.layers.Dense(classes, name="logits")(x)
