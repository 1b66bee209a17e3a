"""BC-ResNet, residual networks whose frequencies are averaged before time is looked at."""
from __future__ import annotations

from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.front_end import Front, FrontEnd, as_image
from models.registry import register

with epy.lazy_imports():
    import keras

#: Of each stage: filters as multiples of the base, blocks, and whether it halves the frequencies.
STAGES = ((1.0, 2, False), (1.5, 2, True), (2.0, 4, True), (2.5, 4, False))
#: Bands of frequencies that are normalized each by itself.
SUB_BANDS = 5
BASE, HEAD, LAST, KERNEL = 8, 2, 4, 3


@register("bc_resnet", task="audio_classification", paper="https://arxiv.org/abs/2106.04140",
          at={"samples": 16_000, "rate": 16_000, "classes": 12})
def bc_resnet(samples: int, rate: int, classes: int, *, front: Front = FrontEnd(window=0.03, hop=0.01),
              width: blocks.WidthMultiplier = 1.0, dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1) -> keras.Model:
    """BC-ResNet, broadcasted residual learning for keyword spotting.

    Kim, Chang, Lee and Sung, "Broadcasted Residual Learning for Efficient Keyword Spotting", 2021, table 1 and figure
    2, as in the authors' code: 40 log-mel bands, sub-spectral normalization over five bands of frequencies, depthwise
    convolutions over time dilated by 1, 2, 4 and 8. 9,232 trained parameters (the paper's BC-ResNet-1 has 9.2 k), and
    2.5 M multiply-adds for a second at 12 classes.

    Args:
        samples: of a recording.
        rate: samples a second.
        classes: number of logits.
        front: the spectrogram that the network sees, its bands a multiple of 20; see `models.front_end.FrontEnd`.
        width: multiplier of the filters, the number behind the paper's names.
        dropout: rate of whole channels behind each block's convolution over time.

    Raises:
        ValueError: the bands are not a multiple of 20.
    """
    layers = keras.layers
    base = round(BASE * width)
    sound = keras.Input((samples,), name="audio")
    x = as_image(sound, front, rate)
    if x.shape[2] % (4 * SUB_BANDS):
        raise ValueError(f"bc_resnet: front.mels is {x.shape[2]}; give a multiple of {4 * SUB_BANDS}")
    x = layers.Conv2D(HEAD * base, 5, (1, 2), padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    for number, (multiple, count, halves) in enumerate(STAGES):
        for block in range(count):
            x = _block(x, int(base * multiple), 2**number, halves and not block, dropout)
    x = layers.ZeroPadding2D(((2, 2), (0, 0)))(x)
    x = layers.DepthwiseConv2D((5, x.shape[2]), padding="valid", use_bias=False)(x)
    x = layers.Conv2D(LAST * base, 1, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(sound, blocks.logits(x, classes), name="bc_resnet")


def _block(x: Any, filters: int, dilation: int, halves: bool, dropout: float) -> Any:
    """Return maps (batch, frames, frequencies, filters) after f2 over frequencies and, on their mean, f1 over time,
    which is added to every frequency."""
    layers, shortcut = keras.layers, x
    changes = x.shape[-1] != filters
    if changes:
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    if halves:
        # a depthwise convolution of Keras strides alike in both directions: every other frequency is taken after it
        x = layers.DepthwiseConv2D((1, KERNEL), padding="same", use_bias=False)(x)[:, :, ::2]
    else:
        x = layers.DepthwiseConv2D((1, KERNEL), padding="same", use_bias=False)(x)
    x = _sub_spectral_normalization(x)
    over_time = layers.AveragePooling2D((1, x.shape[2]))(x)
    over_time = layers.DepthwiseConv2D((KERNEL, 1), padding="same", dilation_rate=(dilation, 1),
                                       use_bias=False)(over_time)
    over_time = layers.Activation("silu")(layers.BatchNormalization(momentum=0.9)(over_time))
    over_time = layers.Conv2D(filters, 1, use_bias=False)(over_time)
    over_time = blocks.spatial_dropout(over_time, dropout)
    x = layers.Add()([x, over_time])
    return layers.ReLU()(x if changes else layers.Add()([x, shortcut]))


def _sub_spectral_normalization(x: Any) -> Any:
    """Return maps of which each band of frequencies is normalized by itself (Chang et al. 2021)."""
    frames, frequencies, filters = x.shape[1:]
    layers = keras.layers
    x = layers.Reshape((frames, SUB_BANDS, frequencies // SUB_BANDS, filters))(x)
    x = layers.Permute((1, 3, 2, 4))(x)
    x = layers.Reshape((frames, frequencies // SUB_BANDS, SUB_BANDS * filters))(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Reshape((frames, frequencies // SUB_BANDS, SUB_BANDS, filters))(x)
    return layers.Reshape((frames, frequencies, filters))(layers.Permute((1, 3, 2, 4))(x))
