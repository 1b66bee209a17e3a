"""The U-Net that networks of a diffusion share: residual blocks that know the step, and something between them that
looks at whole maps."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np

#: The longest wave of a step's vector, and a small number in normalizations, as the authors of DDPM have them.
LONGEST, EPSILON = 10_000.0, 1e-6


class Blocks:
    """Makes the parts of one network.

    Args:
        width: filters of the finest maps, times the first multiplier; a fourth of the numbers of a step's vector.
        groups: of channels that are normalized together.
        dropout: rate in each residual block.
    """

    def __init__(self, width: int, groups: int, dropout: float):
        self.width = width
        self.groups = groups
        self.dropout = dropout

    def vector(self, step: Any, condition: Any = None) -> Any:
        """Return the vector of a step, (batch, 4 width), and of what is asked for beside, (batch, numbers)."""
        half = self.width // 2
        waves = np.exp(-math.log(LONGEST) * np.arange(half) / max(half - 1, 1)).astype("float32")
        angles = keras.layers.Reshape((1,))(step) * waves[None]
        x = keras.layers.Concatenate()([keras.ops.sin(angles), keras.ops.cos(angles)])
        x = keras.layers.Dense(4 * self.width)(keras.layers.Dense(4 * self.width, "silu")(x))
        if condition is not None:
            x = keras.layers.Add()([x, keras.layers.Dense(4 * self.width, use_bias=False)(condition)])
        return keras.layers.Activation("silu")(x)

    def convolution(self, x: Any, filters: int, strides: int = 1, zeros: bool = False, name: str | None = None) -> Any:
        return keras.layers.Conv2D(filters, 3, strides, padding="same", name=name,
                                   kernel_initializer="zeros" if zeros else "glorot_uniform")(x)

    def normalized(self, x: Any) -> Any:
        return keras.layers.GroupNormalization(self.groups, epsilon=EPSILON)(x)

    def active(self, x: Any) -> Any:
        return keras.layers.Activation("silu")(self.normalized(x))

    def residual(self, x: Any, known: Any, filters: int) -> Any:
        """Return maps after two convolutions between which the step's vector is added, and what went in."""
        y = self.convolution(self.active(x), filters)
        added = keras.layers.Reshape((1, 1, filters))(keras.layers.Dense(filters)(known))
        y = self.active(keras.layers.Add()([y, added]))
        y = keras.layers.Dropout(self.dropout)(y) if self.dropout else y
        y = self.convolution(y, filters, zeros=True)
        if x.shape[-1] != filters:
            x = keras.layers.Conv2D(filters, 1)(x)
        return keras.layers.Add()([x, y])


def unet(make: Blocks, x: Any, known: Any, multipliers: Sequence[int], units: int, *, look: Callable[[Any], Any],
         deepest: Callable[[Any], Any]) -> Any:
    """Return maps of an image or of a latent, of its sides, after a way down to smaller ones and up again.

    Args:
        x: (batch, height, width, channels). A side that is odd is halved to the larger half.
        known: the step's vector, (batch, numbers).
        multipliers: of the width, from the finest maps on.
        units: residual blocks of each size on the way down; one more on the way up.
        look: what stands behind each residual block.
        deepest: what stands between the two at the smallest size.
    """
    x = make.convolution(x, make.width)
    skipped = [x]
    for number, factor in enumerate(multipliers):
        for _ in range(units):
            x = look(make.residual(x, known, make.width * factor))
            skipped.append(x)
        if number < len(multipliers) - 1:
            x = make.convolution(x, x.shape[-1], strides=2)
            skipped.append(x)
    x = deepest(make.residual(x, known, x.shape[-1]))
    x = make.residual(x, known, x.shape[-1])
    for number, factor in reversed(list(enumerate(multipliers))):
        for _ in range(units + 1):
            joined = keras.layers.Concatenate()([x, skipped.pop()])
            x = look(make.residual(joined, known, make.width * factor))
        if number:
            x = keras.layers.UpSampling2D(2)(x)
            beyond = [(0, ours - theirs) for ours, theirs in zip(x.shape[1:3], skipped[-1].shape[1:3], strict=True)]
            x = keras.layers.Cropping2D(beyond)(x) if any(after for _, after in beyond) else x
            x = make.convolution(x, x.shape[-1])
    return x


def check_groups(name: str, width: int, multipliers: Sequence[int], groups: int) -> None:
    """Raise ValueError where filters do not divide into groups."""
    if unfit := next((width * factor for factor in multipliers if width * factor % groups), None):
        raise ValueError(f"{name}: {unfit} filters are no multiple of {groups} groups; change width or groups")
