"""Variational autoencoders: an encoder that says what noise a picture could be made of, and a decoder that makes it."""
from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from etils import epy
from pydantic import Field

from models import blocks
from models.outputs import library_of
from models.registry import register

with epy.lazy_imports():
    import keras

#: What such a model takes.
IMAGE, NOISE, CONDITION = "image", "noise", "condition"
#: What it gives: the picture that noise makes, 0..255; the logistic distribution that each of its pixels has, in
#: pixels of 0..1; and the normal distribution of the noise that an image could be made of.
GENERATED, LOCATION, LOG_SCALE, MEAN, LOG_VARIANCE = "generated", "location", "log_scale", "mean", "log_variance"
#: The smallest logarithm of a pixel's scale (Salimans et al., "PixelCNN++", 2017).
LEAST = -7.0
#: By how much it is above that before anything is learnt.
FIRST = 5.0
#: Halvings of the resolution.
STEPS = 2


class Parts(NamedTuple):
    """The two halves of such a model, which share its layers: from an image to `mean` and `log_variance`, and from
    noise, and a condition where there is one, to the picture."""

    encoder: Any
    decoder: Any


@register("vae", task="image_generation", paper="https://arxiv.org/abs/1312.6114",
          at={"input_shape": (28, 28, 1), "noise_shape": (16,), "classes": 0})
def vae(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], classes: int, *, width: blocks.Filters = 32,
        units: Annotated[int, Field(ge=1)] = 128) -> keras.Model:
    """Variational autoencoder: noise of a normal distribution, and a decoder that makes pictures of it.

    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, with convolutions. Each pixel is one of 256 levels, of
    a logistic distribution that the decoder says (Kingma et al., "Improving Variational Inference with Inverse
    Autoregressive Flow", 2016). At (28, 28, 1), 16 numbers of noise, no classes: 859,490 parameters and 4.9 M
    multiply-adds, of which the decoder, which makes pictures, has 3.6 M.

    Args:
        input_shape: (height, width, channels) in pixels; both sides multiples of 4.
        noise_shape: how many numbers of noise, one number.
        classes: of which one is asked for; 0 where none is.
        width: filters of the first convolution; the second has twice as many.
        units: of the dense layers.
    """
    inputs = inputs_of(input_shape, noise_shape, classes, "vae")
    mean, log_variance = _encoded(inputs[IMAGE], noise_shape[0], width, units)
    outputs = _decoded(beside_condition(inputs), input_shape, width, units)
    return keras.Model(inputs, {**outputs, MEAN: mean, LOG_VARIANCE: log_variance}, name="vae")


def parts(model: Any) -> Parts:
    """Return the encoder and the decoder of a model of Keras 3 or tf_keras."""
    library = library_of(model)
    asked = {name: tensor for name, tensor in model.input.items() if name != IMAGE}
    made = {name: model.output[name] for name in (GENERATED, LOCATION, LOG_SCALE)}
    return Parts(library.Model(model.input[IMAGE], {name: model.output[name] for name in (MEAN, LOG_VARIANCE)}),
                 library.Model(asked, made))


def inputs_of(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], classes: int, name: str,
              steps: int = STEPS) -> dict[str, Any]:
    """Return the inputs of a model that makes pictures of a row of noise, and of a class where there are some. Raises
    ValueError where noise is not a row, or images cannot be halved `steps` times."""
    if len(noise_shape) != 1:
        raise ValueError(f"{name} makes pictures of a row of numbers, and its noise is {noise_shape}: set data.noise "
                         "to how many, for instance 64")
    inputs = {IMAGE: image_input(input_shape, name, steps), NOISE: keras.Input(noise_shape, name=NOISE)}
    return {**inputs, CONDITION: keras.Input((classes,), name=CONDITION)} if classes else inputs


def beside_condition(inputs: dict[str, Any]) -> Any:
    """Return the noise of such inputs and, behind it, the class that is asked for, where there is one."""
    if CONDITION not in inputs:
        return inputs[NOISE]
    return keras.layers.Concatenate()([inputs[NOISE], inputs[CONDITION]])


def image_input(input_shape: tuple[int, int, int], name: str, steps: int = STEPS) -> Any:
    """Return the input of the images that are learnt. Raises ValueError where they cannot be halved `steps` times."""
    image = blocks.image_input(input_shape, 2 ** steps, name)
    if any(side % 2 ** steps for side in input_shape[:2]):
        raise ValueError(f"{name} halves images {steps} times, and {input_shape[0]} x {input_shape[1]} pixels do not "
                         f"halve so often: set data.image.size to multiples of {2 ** steps}")
    return image


def _encoded(image: Any, size: int, width: int, units: int) -> tuple[Any, Any]:
    """Return mean and logarithm of the variance of the noise that images could be made of, (batch, size) each."""
    x = maps(image, width)
    x = keras.layers.Dense(units, "relu", kernel_initializer="he_normal")(keras.layers.Flatten()(x))
    return keras.layers.Dense(size, name=MEAN)(x), keras.layers.Dense(size, name=LOG_VARIANCE)(x)


def maps(image: Any, width: int) -> Any:
    """Return maps of images, with a quarter of their sides and 2 width channels."""
    x = blocks.scaled(image)
    for step in range(STEPS):
        x = keras.layers.Conv2D(width * 2 ** step, 3, 2, padding="same", activation="relu",
                                kernel_initializer="he_normal")(x)
    return x


def _decoded(x: Any, input_shape: tuple[int, int, int], width: int, units: int) -> dict[str, Any]:
    """Return the pictures, and the distributions of their pixels."""
    height, width_of_image, channels = input_shape
    small = height // 2 ** STEPS, width_of_image // 2 ** STEPS, width * 2 ** (STEPS - 1)
    x = keras.layers.Dense(units, "relu", kernel_initializer="he_normal")(x)
    x = keras.layers.Dense(small[0] * small[1] * small[2], "relu", kernel_initializer="he_normal")(x)
    x = keras.layers.Reshape(small)(x)
    return pixels(x, channels, width)


def pixels(x: Any, channels: int, width: int) -> dict[str, Any]:
    """Return the pictures, and the distributions of their pixels, of maps with a quarter of the sides.

    Args:
        width: filters of the finest maps.
    """
    for step in reversed(range(STEPS)):
        x = keras.layers.Conv2DTranspose(width * 2 ** max(step - 1, 0), 3, 2, padding="same", activation="relu",
                                         kernel_initializer="he_normal")(x)
    location = keras.layers.Conv2D(channels, 3, padding="same", name=LOCATION)(x)
    above = keras.layers.Conv2D(channels, 3, padding="same", activation="softplus",
                                bias_initializer=keras.initializers.Constant(FIRST))(x)
    log_scale = keras.layers.Rescaling(1.0, offset=LEAST, name=LOG_SCALE)(above)
    levels = keras.layers.Rescaling(255.0)(location)
    return {GENERATED: keras.layers.ReLU(max_value=255.0, name=GENERATED)(levels), LOCATION: location,
            LOG_SCALE: log_scale}
