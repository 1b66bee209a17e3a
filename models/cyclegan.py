"""CycleGAN: two generators, there and back, and a discriminator at either end."""
from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from etils import epy
from pydantic import Field

from models import blocks, patch_gan
from models.outputs import library_of
from models.patch_gan import GENERATED, IMAGE, REALNESS, TARGET
from models.registry import register
from models.variational import image_input

with epy.lazy_imports():
    import keras

#: What the way back makes of a target, and how real images of the kind of the input look.
RETURNED, INPUT_REALNESS = "returned", "input_realness"
#: What comes back of an image, and the way back as a model in what ships.
CYCLED, BACK = "cycled", "back"
#: Halvings of the resolution in a generator, and pixels that the first and the last convolution see to each side.
STEPS, BORDER = 2, 3


class Parts(NamedTuple):
    """The four players, which share the layers of the model: from `image` to `generated`, from `target` to `returned`,
    and the two that tell targets and images from what was made, to `realness` and `input_realness`."""

    there: Any
    back: Any
    of_targets: Any
    of_images: Any


@register("cyclegan", task="image_translation", paper="https://arxiv.org/abs/1703.10593",
          at={"input_shape": (256, 256, 3), "output_shape": (256, 256, 3)})
def cyclegan(input_shape: tuple[int, int, int], output_shape: tuple[int, int, int], *, width: blocks.Filters = 64,
             residual_blocks: Annotated[int, Field(ge=1, le=18)] = 9, discriminator_width: blocks.Filters = 64,
             discriminator_steps: Annotated[int, Field(ge=1, le=5)] = 3) -> keras.Model:
    """CycleGAN: images of one kind made of those of another and back, learnt without pairs.

    Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", 2017, section 7.2 and
    appendix. At (256, 256, 3) 28,285,832 parameters, 11,378,179 in each generator and 2,764,737 in each discriminator
    as in the authors' code, and 105,397 M multiply-adds in all four.

    Args:
        input_shape: (height, width, channels) in pixels; both sides multiples of 4.
        output_shape: of the images that are made, of the same height and width.
        width: filters of a generator's first convolution.
        residual_blocks: of each generator: 9 for images of 256 pixels and more, 6 for smaller ones, as the paper has
            it.
        discriminator_width: filters next to the pixels.
        discriminator_steps: halvings before patches are judged: 3 for patches of 70 x 70 pixels, 1 for 16 x 16.
    """
    image = image_input(input_shape, "cyclegan", STEPS)
    patch_gan.check_patches(input_shape, discriminator_steps, "cyclegan")
    target = patch_gan.translated_input(output_shape, input_shape, "cyclegan")
    scaled, scaled_target = blocks.scaled(image), blocks.scaled(target)
    outputs = {GENERATED: _generated(scaled, output_shape[2], width, residual_blocks, GENERATED),
               RETURNED: _generated(scaled_target, input_shape[2], width, residual_blocks, RETURNED),
               REALNESS: patch_gan.patches(scaled_target, discriminator_width, discriminator_steps, False, REALNESS),
               INPUT_REALNESS: patch_gan.patches(scaled, discriminator_width, discriminator_steps, False,
                                                 INPUT_REALNESS)}
    return keras.Model({IMAGE: image, TARGET: target}, outputs, name="cyclegan")


def parts(model: Any) -> Parts:
    """Return the players of a model of Keras 3 or tf_keras."""
    library = library_of(model)

    def part(given: str, said: str) -> Any:
        return library.Model({given: model.input[given]}, {said: model.output[said]})

    return Parts(part(IMAGE, GENERATED), part(TARGET, RETURNED), part(TARGET, REALNESS), part(IMAGE, INPUT_REALNESS))


def both_ways(model: Any) -> Any:
    """Return the generators alone: a model from `image` to `generated`, and to `cycled`, what the way back makes of
    that; the way back is a model in it, see `way_back`."""
    library = library_of(model)
    back = library.Model({TARGET: model.input[TARGET]}, {RETURNED: model.output[RETURNED]}, name=BACK)
    made = model.output[GENERATED]
    return library.Model({IMAGE: model.input[IMAGE]}, {GENERATED: made, CYCLED: back({TARGET: made})[RETURNED]},
                         name=model.name)


def way_back(model: Any) -> Any | None:
    """Return the model from `target` to `returned` in what `both_ways` gives; None of any other."""
    return next((layer for layer in model.layers if layer.name == BACK), None)


def _generated(x: Any, channels: int, width: int, residual_blocks: int, name: str) -> Any:
    """Return pictures, 0..255, by the generator of Johnson et al., "Perceptual Losses for Real-Time Style Transfer",
    2016."""
    x = _convolved(_mirrored(x, BORDER), width, 2 * BORDER + 1, padding="valid")
    for step in range(1, STEPS + 1):
        x = _convolved(x, width * 2 ** step, 3, 2)
    for _ in range(residual_blocks):
        y = _convolved(_mirrored(x, 1), x.shape[-1], 3, padding="valid")
        y = _convolved(_mirrored(y, 1), x.shape[-1], 3, padding="valid", activated=False)
        x = keras.layers.Add()([x, y])
    for step in reversed(range(STEPS)):
        x = keras.layers.Conv2DTranspose(width * 2 ** step, 3, 2, padding="same",
                                         kernel_initializer=patch_gan.beginning())(x)
        x = keras.layers.ReLU()(patch_gan.normalized(x, False))
    x = keras.layers.Conv2D(channels, 2 * BORDER + 1, kernel_initializer=patch_gan.beginning())(_mirrored(x, BORDER))
    return patch_gan.pixels(x, name)


def _convolved(x: Any, filters: int, kernel: int, strides: int = 1, *, padding: str = "same",
               activated: bool = True) -> Any:
    x = keras.layers.Conv2D(filters, kernel, strides, padding=padding, kernel_initializer=patch_gan.beginning())(x)
    x = patch_gan.normalized(x, False)
    return keras.layers.ReLU()(x) if activated else x


def _mirrored(x: Any, border: int) -> Any:
    """Return maps with a border of what is mirrored at their edge."""
    return keras.ops.pad(x, ((0, 0), (border, border), (border, border), (0, 0)), mode="reflect")
