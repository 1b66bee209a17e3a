"""The U-Net of diffusion models: from a noisy image and the step that it is at to what is to be taken away."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.registry import register
from models.variational import CONDITION, NOISE

with epy.lazy_imports():
    import keras
    import numpy as np

#: The step that an image is at, from 1; and what the network says of it.
STEP, DENOISED = "step", "denoised"
#: The longest wave of a step's vector, and a small number in normalizations, as the authors have them.
LONGEST, EPSILON = 10_000.0, 1e-6
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


@register("ddpm", task="image_generation", paper="https://arxiv.org/abs/2006.11239",
          at={"input_shape": (32, 32, 3), "noise_shape": (32, 32, 3), "classes": 0})
def ddpm(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], classes: int, *,
         width: blocks.Filters = 128, multipliers: Counts = (1, 2, 2, 2),
         units: Annotated[int, Field(ge=1)] = 2, attention: tuple[int, ...] = (16,),
         groups: Annotated[int, Field(ge=1)] = 32, dropout: blocks.Dropout = 0.1) -> keras.Model:
    """U-Net of DDPM: residual blocks that know the step, attention on small maps.

    Ho et al., "Denoising Diffusion Probabilistic Models", 2020, appendix B. At the paper's setting for CIFAR-10,
    (32, 32, 3), 35,746,307 parameters and 6,060 M multiply-adds. A class that is asked for is added to the vector of
    the step; zeros ask for none.

    Args:
        input_shape: (height, width, channels); both sides can be halved as often as there are multipliers but one.
        noise_shape: the same.
        classes: of which one is asked for; 0 where none is.
        width: filters of the finest maps, times the first multiplier.
        multipliers: of the filters, from the finest maps on.
        units: residual blocks of each size on the way down; one more on the way up.
        attention: heights of the maps whose positions look at each other.
        groups: of channels that are normalized together.
        dropout: rate in each residual block.
    """
    _check(input_shape, noise_shape, width, multipliers, groups)
    make = _Blocks(width, groups, dropout)
    x = noise = keras.Input(input_shape, name=NOISE)
    step = keras.Input((), name=STEP)
    condition = keras.Input((classes,), name=CONDITION) if classes else None
    known = make.vector(step, condition)
    x = make.convolution(x, width)
    skipped = [x]
    for number, factor in enumerate(multipliers):
        for _ in range(units):
            x = make.attended(make.residual(x, known, width * factor), attention)
            skipped.append(x)
        if number < len(multipliers) - 1:
            x = make.convolution(x, x.shape[-1], strides=2)
            skipped.append(x)
    x = make.attention(make.residual(x, known, x.shape[-1]))
    x = make.residual(x, known, x.shape[-1])
    for number, factor in reversed(list(enumerate(multipliers))):
        for _ in range(units + 1):
            joined = keras.layers.Concatenate()([x, skipped.pop()])
            x = make.attended(make.residual(joined, known, width * factor), attention)
        if number:
            x = make.convolution(keras.layers.UpSampling2D(2)(x), x.shape[-1])
    x = make.convolution(make.active(x), input_shape[-1], zeros=True, name=DENOISED)
    inputs = {NOISE: noise, STEP: step, **({CONDITION: condition} if classes else {})}
    return keras.Model(inputs, {DENOISED: x}, name="ddpm")


class _Blocks:
    """Makes the parts of one network."""

    def __init__(self, width: int, groups: int, dropout: float):
        self.width = width
        self.groups = groups
        self.dropout = dropout

    def vector(self, step: Any, condition: Any) -> Any:
        """Return the vector of a step, (batch, 4 width), and of a class beside."""
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

    def attended(self, x: Any, heights: Sequence[int]) -> Any:
        return self.attention(x) if x.shape[1] in heights else x

    def attention(self, x: Any) -> Any:
        """Return maps whose positions have looked at each other, with one head."""
        height, width, channels = x.shape[1:]
        flat = keras.layers.Reshape((height * width, channels))(self.normalized(x))
        query, key, value = (keras.layers.Dense(channels)(flat) for _ in range(3))
        scores = keras.layers.Dot(axes=2)([keras.layers.Rescaling(channels ** -0.5)(query), key])
        y = keras.layers.Dot(axes=(2, 1))([keras.layers.Softmax()(scores), value])
        y = keras.layers.Dense(channels, kernel_initializer="zeros")(y)
        return keras.layers.Add()([x, keras.layers.Reshape((height, width, channels))(y)])


def _check(input_shape: tuple[int, ...], noise_shape: tuple[int, ...], width: int, multipliers: Sequence[int],
           groups: int) -> None:
    """Raise ValueError where a setting does not fit the images."""
    if tuple(noise_shape) != tuple(input_shape):
        raise ValueError(f"ddpm makes pictures of noise of their own size, {input_shape}, and this is {noise_shape}: "
                         "set data.noise.size to image")
    halvings = 2 ** (len(multipliers) - 1)
    if any(side % halvings or side < halvings for side in input_shape[:2]):
        raise ValueError(f"ddpm halves images {len(multipliers) - 1} times, and {input_shape[0]} x {input_shape[1]} "
                         f"pixels do not halve so often: set data.image.size to multiples of {halvings}, or give fewer "
                         "multipliers")
    if unfit := next((width * factor for factor in multipliers if width * factor % groups), None):
        raise ValueError(f"ddpm: {unfit} filters are no multiple of {groups} groups; change width or groups")
