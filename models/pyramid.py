"""Feature pyramids: maps of several levels, each knowing what coarser ones see."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from etils import epy

with epy.lazy_imports():
    import keras


def feature_pyramid(maps: Mapping[int, Any], filters: int, highest: int, further: Literal["pool", "convolution"],
                    batch_norm: bool = False) -> dict[int, Any]:
    """Return maps of as many filters each, by level (Lin et al., "Feature Pyramid Networks for Object Detection", 2017,
    section 3).

    Args:
        maps: of a backbone, by level: (batch, height, width, channels).
        filters: of each map.
        highest: level that is given; those behind the backbone's last halve the resolution of the last.
        further: how: pool, a max pooling of one place with a stride of 2, which takes every second place, as the paper
            and torchvision do; or convolution, with a stride of 2 (Lin et al., "Focal Loss for Dense Object Detection",
            2017, section 4).
        batch_norm: normalize after each convolution, as the paper, which begins with trained backbones, does not.
    """
    levels = sorted(maps)

    def convolution(x: Any, kernel: int, strides: int = 1) -> Any:
        x = keras.layers.Conv2D(filters, kernel, strides, padding="same", use_bias=not batch_norm,
                                kernel_initializer="he_uniform")(x)
        return keras.layers.BatchNormalization(momentum=0.9)(x) if batch_norm else x

    inner = {levels[-1]: convolution(maps[levels[-1]], 1)}
    for level in reversed(levels[:-1]):
        # UpSampling2D becomes a tensor of five dimensions on phones
        enlarged = keras.ops.image.resize(inner[level + 1], maps[level].shape[1:3], interpolation="nearest")
        inner[level] = keras.layers.Add()([convolution(maps[level], 1), enlarged])
    found = {level: convolution(inner[level], 3) for level in levels}
    for level in range(levels[-1] + 1, highest + 1):
        x = found[level - 1]
        if further == "pool":
            found[level] = keras.layers.MaxPooling2D(1, 2)(x)
        else:
            found[level] = convolution(x if level == levels[-1] + 1 else keras.layers.ReLU()(x), 3, 2)
    return found
