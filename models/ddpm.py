"""The U-Net of diffusion models: from a noisy image and the step that it is at to what is to be taken away."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from etils import epy
from pydantic import Field

from models import blocks
from models.registry import register
from models.step_unet import Blocks, check_groups, unet
from models.variational import CONDITION, NOISE

with epy.lazy_imports():
    import keras

#: The step that an image is at, from 1; and what the network says of it.
STEP, DENOISED = "step", "denoised"
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
    noise = keras.Input(input_shape, name=NOISE)
    step = keras.Input((), name=STEP)
    condition = keras.Input((classes,), name=CONDITION) if classes else None
    known = make.vector(step, condition)
    x = unet(make, noise, known, multipliers, units, look=lambda maps: make.attended(maps, attention),
             deepest=make.attention)
    x = make.convolution(make.active(x), input_shape[-1], zeros=True, name=DENOISED)
    inputs = {NOISE: noise, STEP: step, **({CONDITION: condition} if classes else {})}
    return keras.Model(inputs, {DENOISED: x}, name="ddpm")


class _Blocks(Blocks):
    """Makes the parts of one network."""

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
    check_groups("ddpm", width, multipliers, groups)
