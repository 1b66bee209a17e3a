"""StyleGAN2: a generator that is told at each of its layers what picture to make, and its discriminator."""
from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

from etils import epy
from pydantic import Field

from models import blocks
from models.dcgan import REALNESS
from models.equalized import convolution_class, dense_class
from models.minibatch import spread_class
from models.modulated import colours_class, styled_class
from models.registry import register
from models.styles import doubled_class, levels_class, normalized_class, styles_class
from models.transformer import Size
from models.variational import CONDITION, GENERATED, IMAGE, NOISE, inputs_of

with epy.lazy_imports():
    import keras

#: The layer that hands styles out.
STYLES = "styles"
#: Factor on the learning rate of the layers that map noise to styles.
RATE = 0.01
#: Filters that the discriminator has for each that its last convolution sees: how far images differ is one more.
MORE = 1
Units = Annotated[int, Field(ge=1)]


class Halves(NamedTuple):
    """The halves of the generator, which share its layers: from noise, and a condition where there is one, to a style,
    and from a style for each layer, a list, to the picture; and the layer between them."""

    mapping: Any
    synthesis: Any
    styles: Any


def size(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], classes: int, *, width: int, most: int,
         depth: int, units: int, layers: int, truncation: float) -> Size:
    """Return how large `stylegan2` is, both players: multiply-adds are those of convolutions and dense layers, without
    the filters that are always the same."""
    channels = input_shape[2]
    maps, areas = _filters(width, most, depth), _areas(input_shape, depth)

    def dense(inputs: int, outputs: int) -> Size:
        return Size((inputs + 1) * outputs, inputs * outputs)

    def convolution(kernel: int, inputs: int, outputs: int, area: int, biased: bool = True) -> Size:
        weights = kernel * kernel * inputs * outputs
        return Size(weights + biased * outputs, weights * area)

    def styled(inputs: int, outputs: int, area: int, seen: int) -> Size:
        # beside its kernel the weight of its noise and the noise itself; what it sees while it doubles is smaller, and
        # the squares of its kernel meet those of the style
        own = convolution(3, inputs, outputs, seen)
        return dense(units, inputs) + own + Size(1 + area, inputs * outputs)

    def colours(inputs: int, area: int) -> Size:
        return dense(units, inputs) + convolution(1, inputs, channels, area)

    generator = Size(units + 1, 0)  # what the styles' layer remembers
    if classes:
        generator += Size(classes * noise_shape[0], classes * noise_shape[0])
    first = noise_shape[0] * (2 if classes else 1)
    generator += dense(first, units) + dense(units, units).times(layers - 1)
    generator += Size(maps[0] * areas[0], 0) + styled(maps[0], maps[0], areas[0], areas[0]) + colours(maps[0], areas[0])
    for step in range(1, depth + 1):
        before, filters, area = maps[step - 1], maps[step], areas[step]
        generator += styled(before, filters, area, areas[step - 1]) + styled(filters, filters, area, area)
        generator += colours(filters, area)
    player = convolution(1, channels, maps[-1], areas[-1])
    for step in reversed(range(1, depth + 1)):
        filters, after = maps[step], maps[step - 1]
        player += convolution(3, filters, filters, areas[step]) + convolution(3, filters, after, areas[step - 1])
        player += convolution(1, filters, after, areas[step - 1], biased=False)
    player += convolution(3, maps[0] + MORE, maps[0], areas[0])
    player += dense(maps[0] * areas[0], maps[0]) + dense(maps[0], max(classes, 1))
    return generator + player


@register("stylegan2", task="image_generation", paper="https://arxiv.org/abs/1912.04958",
          at={"input_shape": (256, 256, 3), "noise_shape": (512,), "classes": 0}, closed_form=size)
def stylegan2(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], classes: int, *,
              width: blocks.Filters = 128, most: blocks.Filters = 512, depth: Annotated[int, Field(ge=1, le=8)] = 6,
              units: Units = 512, layers: Annotated[int, Field(ge=1, le=16)] = 8,
              truncation: Annotated[float, Field(ge=0, le=1)] = 1.0) -> keras.Model:
    """StyleGAN2: noise becomes a style, which scales the maps of each layer of a generator that sums up pictures.

    Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, configuration F. At (256, 256, 3) the
    30,034,338 parameters of the generator and 28,864,129 of the discriminator that the authors' code has, and
    59,073,716 with the noise of its layers, which is always the same in inference, and the mean of all styles;
    91,659 M multiply-adds. A class that is asked for stands beside the noise, and chooses which output of the
    discriminator counts (Mescheder et al. 2018), as in the authors' code.

    Args:
        input_shape: (height, width, channels) in pixels; both sides multiples of 2**depth.
        noise_shape: how many numbers of noise, one number.
        classes: of which one is asked for; 0 where none is.
        width: filters next to the pixels; each step further has twice as many.
        most: filters of a layer at most.
        depth: doublings of the resolution.
        units: numbers of a style, and of the layers that map noise to it.
        layers: that map noise to a style.
        truncation: of the way from the mean of all styles to a style, what is gone in inference: below 1 pictures are
            more alike, and fewer of them are poor.
    """
    inputs = inputs_of(input_shape, noise_shape, classes, "stylegan2", depth)
    maps = _filters(width, most, depth)
    style = _mapped(inputs[NOISE], inputs.get(CONDITION), units, layers)
    made = _generated(style, input_shape, maps, truncation)
    realness = _judged(inputs[IMAGE], inputs.get(CONDITION), maps)
    return keras.Model(inputs, {GENERATED: made, REALNESS: realness}, name="stylegan2")


def halves(model: Any) -> Halves:
    """Return the halves of the generator of a model. Raises ValueError where it has no styles."""
    layer = model.get_layer(STYLES)
    asked = {name: tensor for name, tensor in model.input.items() if name != IMAGE}
    synthesis = keras.Model(layer.output, {GENERATED: model.output[GENERATED]})
    return Halves(keras.Model(asked, layer.input), synthesis, layer)


def _filters(width: int, most: int, depth: int) -> list[int]:
    """Return the filters of each resolution, from the coarsest on."""
    return [min(width * 2 ** step, most) for step in reversed(range(depth + 1))]


def _areas(input_shape: tuple[int, int, int], depth: int) -> list[int]:
    """Return the pixels of each resolution, from the coarsest on."""
    return [math.prod(side // 2 ** step for side in input_shape[:2]) for step in reversed(range(depth + 1))]


def _mapped(noise: Any, condition: Any, units: int, layers: int) -> Any:
    """Return the style, (batch, units)."""
    x = noise
    if condition is not None:
        start = keras.initializers.RandomNormal(stddev=1.0)
        asked = keras.layers.Dense(noise.shape[-1], use_bias=False, kernel_initializer=start)(condition)
        x = keras.layers.Concatenate()([x, asked])
    x = normalized_class()()(x)
    for _ in range(layers):
        x = dense_class()(units, activates=True, rate=RATE)(x)
    return x


def _generated(style: Any, input_shape: tuple[int, int, int], maps: list[int], truncation: float) -> Any:
    """Return pictures, 0..255: the sum of what each resolution makes."""
    height, across, channels = input_shape
    steps = len(maps) - 1
    styles = styles_class()(2 * steps + 2, truncation, name=STYLES)(style)
    start = height // 2 ** steps, across // 2 ** steps
    styled, colours = styled_class(), colours_class()
    x = styled(maps[0], 0, start=start)(styles[0])
    picture = colours(channels)([x, styles[1]])
    for step, filters in enumerate(maps[1:]):
        # the style of a picture is that of the next resolution's first layer
        first = 2 * step + 1
        x = styled(filters, first, doubles=True)([x, styles[first]])
        x = styled(filters, first + 1)([x, styles[first + 1]])
        picture = keras.layers.Add()([doubled_class()()(picture), colours(channels)([x, styles[first + 2]])])
    return levels_class()(name=GENERATED)(picture)


def _judged(pixels: Any, condition: Any, maps: list[int]) -> Any:
    """Return how real images look, (batch, 1)."""
    convolution, dense = convolution_class(), dense_class()
    x = convolution(maps[-1], 1)(blocks.scaled(pixels))
    for filters, after in zip(reversed(maps[1:]), reversed(maps[:-1]), strict=True):
        skipped = convolution(after, 1, halves=True, activates=False)(x)
        x = convolution(after, 3, halves=True)(convolution(filters, 3)(x))
        x = keras.layers.Rescaling(math.sqrt(0.5))(keras.layers.Add()([x, skipped]))
    x = convolution(maps[0], 3)(spread_class()()(x))
    x = dense(maps[0], activates=True)(keras.layers.Flatten()(x))
    if condition is None:
        return dense(1, name=REALNESS)(x)
    return keras.layers.Dot(axes=1, name=REALNESS)([dense(condition.shape[-1])(x), condition])
