"""Pix2Pix: a U-Net makes one image of another, and a discriminator looks at both."""
from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from etils import epy
from pydantic import Field

from models import blocks, patch_gan
from models.outputs import library_of
from models.patch_gan import GENERATED, IMAGE, REALNESS, SLOPE, TARGET, WIDEST
from models.registry import register
from models.variational import image_input

with epy.lazy_imports():
    import keras

#: Steps of the expanding path that have dropout.
DROPPED = 3


class Parts(NamedTuple):
    """The two players, which share the layers of the model."""

    generator: Any
    discriminator: Any


@register("pix2pix", task="image_translation", paper="https://arxiv.org/abs/1611.07004",
          at={"input_shape": (256, 256, 3), "output_shape": (256, 256, 3)})
def pix2pix(input_shape: tuple[int, int, int], output_shape: tuple[int, int, int], *, width: blocks.Filters = 64,
            depth: Annotated[int, Field(ge=2, le=9)] = 8, dropout: blocks.Dropout = 0.5,
            discriminator_width: blocks.Filters = 64,
            discriminator_steps: Annotated[int, Field(ge=1, le=5)] = 3) -> keras.Model:
    """Pix2Pix: a U-Net makes images of images, a PatchGAN tells pairs of both from real pairs.

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017, section 6.1. At (256, 256,
    3) 57,182,660 parameters, 54.414 M in the generator and 2.769 M in the discriminator as the authors' code counts
    them, and 9,245 M multiply-adds. Maps are normalized image by image, which is what the paper's batch normalization
    is with its batches of one. Dropout is the paper's noise, which the trained model does without.

    Args:
        input_shape: (height, width, channels) in pixels; both sides multiples of 2**depth.
        output_shape: of the images that are made, of the same height and width.
        width: filters of the generator's first step; each further one has twice as many, 8 times as many at most.
        depth: halvings of the resolution; 8 at 256 pixels, 5 at 32.
        dropout: rate in the first three steps of the expanding path.
        discriminator_width: filters next to the pixels.
        discriminator_steps: halvings before patches are judged: 3 for patches of 70 x 70 pixels, 1 for 16 x 16.
    """
    image = image_input(input_shape, "pix2pix", depth)
    patch_gan.check_patches(input_shape, discriminator_steps, "pix2pix")
    target = patch_gan.translated_input(output_shape, input_shape, "pix2pix")
    scaled = blocks.scaled(image)
    made = _generated(scaled, output_shape[2], width, depth, dropout)
    both = keras.layers.Concatenate()([scaled, blocks.scaled(target)])
    realness = patch_gan.patches(both, discriminator_width, discriminator_steps, True, REALNESS)
    return keras.Model({IMAGE: image, TARGET: target}, {GENERATED: made, REALNESS: realness}, name="pix2pix")


def parts(model: Any) -> Parts:
    """Return the generator, from `image` to `generated`, and the discriminator, from `image` and `target` to
    `realness`, of a model of Keras 3 or tf_keras."""
    library = library_of(model)
    return Parts(library.Model({IMAGE: model.input[IMAGE]}, {GENERATED: model.output[GENERATED]}, name=model.name),
                 library.Model(model.input, {REALNESS: model.output[REALNESS]}))


def _generated(x: Any, channels: int, width: int, depth: int, dropout: float) -> Any:
    """Return pictures, 0..255."""
    filters = [width * min(2 ** step, WIDEST) for step in range(depth)]
    skipped = []
    for step, count in enumerate(filters):
        if step:
            skipped.append(x)
            x = keras.layers.LeakyReLU(negative_slope=SLOPE)(x)
        x = keras.layers.Conv2D(count, 4, 2, padding="same", use_bias=False,
                                kernel_initializer=patch_gan.beginning())(x)
        if 0 < step < depth - 1:  # the last maps may be of one pixel, of which normalization would leave nothing
            x = patch_gan.normalized(x, True)
    for step in reversed(range(depth - 1)):
        x = _enlarged(keras.layers.ReLU()(x), filters[step])
        x = patch_gan.normalized(x, True)
        if dropout and depth - 1 - step <= DROPPED:
            x = keras.layers.Dropout(dropout)(x)
        x = keras.layers.Concatenate()([x, skipped[step]])
    return patch_gan.pixels(_enlarged(keras.layers.ReLU()(x), channels, bias=True), GENERATED)


def _enlarged(x: Any, filters: int, bias: bool = False) -> Any:
    return keras.layers.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=bias,
                                        kernel_initializer=patch_gan.beginning())(x)
