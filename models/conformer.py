"""Conformer: attention and convolution, from sound to characters."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.front_end import Front, FrontEnd, as_image
from models.positions import sines
from models.registry import register

with epy.lazy_imports():
    import keras

#: The feed-forward modules are this many times as wide inside.
EXPANSION = 4


@register("conformer", task="speech_recognition", paper="https://arxiv.org/abs/2005.08100",
          at={"samples": 16_000, "rate": 16_000, "classes": 30})
def conformer(samples: int, rate: int, classes: int, *, front: Front = FrontEnd(mels=80, centred=True),
              depth: Annotated[int, Field(ge=1)] = 4, units: Annotated[int, Field(ge=2)] = 144,
              heads: Annotated[int, Field(ge=1)] = 4, kernel: Annotated[int, Field(ge=1)] = 31,
              dropout: blocks.Dropout = 0.1) -> keras.Model:
    """A small Conformer encoder with a linear layer for CTC.

    Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition", 2020, figures 1 to 4: two
    convolutions that quarter the frames, and blocks of half a feed-forward module, attention, convolution, another half
    and a normalization, of the width of Conformer (S), 144, but 4 of its 16 blocks; positions are added as sines and
    not relative, the kernel is odd, and batch normalization is in the convolution module as there. 2,551,422 parameters
    at 30 characters, and 155.2 M multiply-adds for a second, of which it gives 25 frames.

    Args:
        samples: of a recording.
        rate: samples a second.
        classes: characters and the blank.
        front: the spectrogram that the network sees, see `models.front_end.FrontEnd`.
        depth: blocks.
        units: of a frame; a multiple of `heads` and of 2.
        heads: of the attention.
        kernel: frames of the depthwise convolution.
        dropout: rate in each module.

    Raises:
        ValueError: the units do not divide among the heads, or are odd.
    """
    if units % heads or units % 2:
        raise ValueError(f"conformer: {units} units do not divide among {heads} heads, or are odd; give a multiple of "
                         f"both 2 and {heads}")
    layers = keras.layers
    sound = keras.Input((samples,), name="audio")
    x = as_image(sound, front, rate)
    for _ in range(2):
        x = layers.Conv2D(units, 3, 2, padding="same", activation="relu")(x)
    x = layers.Dense(units)(layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x))
    x = layers.Dropout(dropout)(x + sines(x.shape[1], units))
    for _ in range(depth):
        x = x + 0.5 * _feed_forward(x, units, dropout)
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.MultiHeadAttention(heads, units // heads, dropout=dropout)(y, y)
        x = layers.Add()([x, layers.Dropout(dropout)(y)])
        x = layers.Add()([x, _convolution(x, units, kernel, dropout)])
        x = x + 0.5 * _feed_forward(x, units, dropout)
        x = layers.LayerNormalization(epsilon=1e-5)(x)
    return keras.Model(sound, layers.Dense(classes, name="logits")(x), name="conformer")


def _feed_forward(x: Any, units: int, dropout: float) -> Any:
    layers = keras.layers
    y = layers.Dense(EXPANSION * units, "silu")(layers.LayerNormalization(epsilon=1e-5)(x))
    return layers.Dropout(dropout)(layers.Dense(units)(layers.Dropout(dropout)(y)))


def _convolution(x: Any, units: int, kernel: int, dropout: float) -> Any:
    """Return the convolution module: a gated pointwise convolution (Dauphin et al. 2017), a depthwise one over time,
    normalized, and a pointwise one."""
    layers = keras.layers
    y = layers.LayerNormalization(epsilon=1e-5)(x)
    y = layers.Multiply()([layers.Dense(units)(y), layers.Dense(units, "sigmoid")(y)])
    y = layers.DepthwiseConv1D(kernel, padding="same")(y)
    y = layers.Activation("silu")(layers.BatchNormalization(momentum=0.9)(y))
    return layers.Dropout(dropout)(layers.Dense(units)(y))
