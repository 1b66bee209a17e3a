"""Building blocks that families share, with the names their papers give them."""
from __future__ import annotations

import math
from collections.abc import Sequence
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
SkipHalvings = Annotated[int, Field(ge=0, le=4)]
DepthMultiplier = Annotated[float, Field(gt=0)]


def image_input(input_shape: tuple[int, int, int], smallest: int, name: str) -> Any:
    """Return the input of a model, raw pixels 0..255. Raises ValueError for images below `smallest` pixels a side."""
    check_size(input_shape, smallest, name)
    return keras.Input(input_shape, name="image")


def check_size(input_shape: tuple[int, int, int], smallest: int, name: str) -> None:
    """Raise ValueError for images below `smallest` pixels a side."""
    if min(input_shape[:2]) < smallest:
        raise ValueError(f"{name} needs images of at least {smallest} x {smallest} pixels, got {input_shape[0]} x "
                         f"{input_shape[1]}: set data.image.size to {smallest} or more")


def scaled(pixels: Any) -> Any:
    """Return pixels 0..255 as -1..1."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)


def repeats(counts: Sequence[int], depth: float) -> tuple[int, ...]:
    """Return the blocks per stage under a depth multiplier, at least one each, rounded up (Tan & Le 2019)."""
    return tuple(max(1, math.ceil(count * depth)) for count in counts)


def convolution_norm(x: Any, filters: int, kernel: int, strides: int = 1, *, activation: str | None = "relu",
                     momentum: float = 0.9, weight_decay: float = 0.0, dilation: int = 1) -> Any:
    """Return x after a convolution without bias, batch normalization, and an activation."""
    regularizer = keras.regularizers.L2(weight_decay) if weight_decay else None
    x = keras.layers.Conv2D(filters, kernel, strides, padding="same", dilation_rate=dilation, use_bias=False,
                            kernel_initializer="he_normal", kernel_regularizer=regularizer)(x)
    x = keras.layers.BatchNormalization(momentum=momentum)(x)
    return keras.layers.Activation(activation)(x) if activation else x


def resized(x: Any, size: tuple[int, int]) -> Any:
    """Return maps brought to a size (height, width) between their pixels' centres, bilinearly; as they are where they
    have it.

    The layer Resizing, like all layers that prepare data, would make normalization behind it learn when it is only
    asked.
    """
    return x if tuple(x.shape[1:3]) == tuple(size) else keras.ops.image.resize(x, size, interpolation="bilinear")


def local_response_normalization(x: Any, window: int = 5, bias: float = 2.0, alpha: float = 1e-4,
                                 beta: float = 0.75) -> Any:
    """Return activations over a power of the squares of their neighbours among the channels (section 3.3 of the AlexNet
    paper).

    Args:
        x: (batch, height, width, channels).
        window, bias, alpha, beta: n, k, alpha and beta of the paper.
    """
    channels, half = x.shape[-1], window // 2
    squares = keras.ops.pad(x * x, ((0, 0), (0, 0), (0, 0), (half, half)))
    near = squares[..., :channels]
    for offset in range(1, window):
        near = near + squares[..., offset:offset + channels]
    return x * keras.ops.power(bias + alpha * near, -beta)


def stochastic_depth(x: Any, rate: float) -> Any:
    """Leave a residual branch out for a whole example, with probability `rate` (Huang et al. 2016)."""
    return keras.layers.Dropout(rate, noise_shape=(None, *(1,) * (len(x.shape) - 1)))(x) if rate else x


def spatial_dropout(x: Any, rate: float) -> Any:
    """Leave whole channels out (Tompson et al. 2015)."""
    return keras.layers.SpatialDropout2D(rate)(x) if rate else x


def shuffled_channels(x: Any, groups: int) -> Any:
    """Return channels in the order that mixes `groups` of them (Zhang et al. 2018)."""
    height, width, channels = x.shape[1:]
    x = keras.layers.Reshape((height, width, groups, channels // groups))(x)
    return keras.layers.Reshape((height, width, channels))(keras.layers.Permute((1, 2, 4, 3))(x))


def logits(x: Any, classes: int, dropout: float = 0.0) -> Any:
    """Return logits after global average pooling, dropout, and a dense layer."""
    x = keras.layers.GlobalAveragePooling2D()(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return keras.layers.Dense(classes, name="logits")(x)


def dense_logits(x: Any, classes: int, units: int, dropout: float) -> Any:
    """Return logits after two dense layers of `units`, each with dropout, and a last one: the head of AlexNet and
    VGG."""
    x = keras.layers.Flatten()(x)
    for _ in range(2):
        x = keras.layers.Dropout(dropout)(keras.layers.Dense(units, "relu")(x))
    return keras.layers.Dense(classes, name="logits")(x)


def encoder_block(x: Any, heads: int, hidden: int, activation: str, *, epsilon: float, dropout: float = 0.0,
                  drop: float = 0.0) -> Any:
    """Return tokens after a Transformer encoder block, normalized before attention and before the two dense layers
    (Dosovitskiy et al. 2021, figure 1).

    Args:
        x: (batch, tokens, units), or (batch, groups, tokens, units) where tokens attend within their group.
        heads: of the attention.
        hidden: units between the two dense layers.
        activation: after the first of them.
        epsilon: of the layer normalization.
        dropout: rate after attention and after each dense layer.
        drop: rate of stochastic depth.
    """
    layers, units = keras.layers, x.shape[-1]

    def dropped(y):
        return layers.Dropout(dropout)(y) if dropout else y

    y = layers.LayerNormalization(epsilon=epsilon)(x)
    y = dropped(layers.MultiHeadAttention(heads, units // heads, attention_axes=len(x.shape) - 2)(y, y))
    x = layers.Add()([x, stochastic_depth(y, drop)])
    y = layers.LayerNormalization(epsilon=epsilon)(x)
    y = dropped(layers.Activation(activation)(layers.Dense(hidden)(y)))
    y = dropped(layers.Dense(units)(y))
    return layers.Add()([x, stochastic_depth(y, drop)])
