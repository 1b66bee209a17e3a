"""The PatchGAN, which tells real images from made ones patch by patch, and layers of those who make them."""
from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras

IMAGE, TARGET, GENERATED = "image", "target", "generated"
#: What the discriminator says of each patch: the higher, the more it looks like one of a real image.
REALNESS = "realness"
#: The slope of activations below 0, the deviation that weights begin with, and the most that filters double.
SLOPE, DEVIATION, WIDEST = 0.2, 0.02, 8


def discriminator_filters(width: int, steps: int) -> list[int]:
    """Return the filters of the convolutions of a discriminator, but of the last one, which has one."""
    return [width * min(2 ** step, WIDEST) for step in range(steps + 1)]


def check_patches(input_shape: tuple[int, int, int], steps: int, name: str) -> None:
    """Raise ValueError where an image is smaller than what the discriminator needs to have a patch."""
    smallest = 4 * 2 ** steps
    if min(input_shape[:2]) < smallest:
        raise ValueError(f"{name}'s discriminator halves images {steps} times and needs {smallest} x {smallest} pixels "
                         f"or more, got {input_shape[0]} x {input_shape[1]}: set data.image.size to {smallest} or "
                         "more, or lower model.discriminator_steps")


def patches(x: Any, width: int, steps: int, affine: bool, name: str) -> Any:
    """Return how real the patches of an image look, (batch, rows, columns, 1), 70 x 70 pixels each for 3 steps (Isola
    et al. 2017, section 6.1.2).

    Args:
        x: scaled images, -1..1, (batch, height, width, channels).
        width: filters of the first convolution.
        steps: halvings of the resolution.
        affine: whether normalization has a factor and an offset, in place of the convolution's bias.
        name: of the last layer.
    """
    for step, filters in enumerate(discriminator_filters(width, steps)):
        if step == steps:
            x = keras.layers.ZeroPadding2D(1)(x)
        x = keras.layers.Conv2D(filters, 4, 1 if step == steps else 2, padding="valid" if step == steps else "same",
                                use_bias=not (affine and step), kernel_initializer=beginning())(x)
        x = keras.layers.LeakyReLU(negative_slope=SLOPE)(normalized(x, affine) if step else x)
    return keras.layers.Conv2D(1, 4, kernel_initializer=beginning(), name=name)(keras.layers.ZeroPadding2D(1)(x))


def normalized(x: Any, affine: bool) -> Any:
    """Return each map of each example with mean 0 and deviation 1: instance normalization (Ulyanov et al. 2016)."""
    return keras.layers.GroupNormalization(-1, epsilon=1e-5, center=affine, scale=affine)(x)


def beginning() -> Any:
    """Return the initializer of the kernels."""
    return keras.initializers.RandomNormal(stddev=DEVIATION)


def pixels(x: Any, name: str) -> Any:
    """Return -1..1 as pixels, 0..255."""
    return keras.layers.Rescaling(127.5, offset=127.5, name=name)(keras.layers.Activation("tanh")(x))


def translated_input(output_shape: tuple[int, int, int], input_shape: tuple[int, int, int], name: str) -> Any:
    """Return the input of the images that are to be made. Raises ValueError where they are of another size."""
    if output_shape[:2] != input_shape[:2]:
        raise ValueError(f"{name} makes images of the size of its input, {input_shape[0]} x {input_shape[1]} pixels, "
                         f"and targets are {output_shape[0]} x {output_shape[1]}: leave data.target.size out")
    return keras.Input(output_shape, name=TARGET)
