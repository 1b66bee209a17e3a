"""The autoencoder of a diffusion in latents: an image as a small map, and that map as an image again."""
from __future__ import annotations

from typing import Any

from etils import epy

from models import blocks, variational
from models.registry import register
from models.variational import IMAGE, LOG_VARIANCE, MEAN, NOISE, STEPS

with epy.lazy_imports():
    import keras

#: How fast the moving statistics of latents follow them.
MOMENTUM = 0.9


@register("autoencoder", task="image_generation", paper="https://arxiv.org/abs/2112.10752",
          at={"input_shape": (28, 28, 1), "noise_shape": (7, 7, 4), "classes": 0})
def autoencoder(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], classes: int, *,
                width: blocks.Filters = 32) -> keras.Model:
    """Autoencoder with a map as latent: every 4 x 4 pixels of an image become a few numbers.

    Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, section 3.1, with the
    likelihood of `vae`. Each channel of the mean is normalized over the training images, without a scale of its own
    (Zhu et al., "A Batch Normalized Inference Network Keeps the KL Vanishing Away", 2020), so that latents have the
    variance of noise. At (28, 28, 1) and (7, 7, 4) 86,930 parameters and 6.1 M multiply-adds, of which the decoder has
    3.3 M.

    Args:
        input_shape: (height, width, channels) in pixels; both sides multiples of 4.
        noise_shape: of the latent: (height / 4, width / 4, numbers).
        classes: 0: its latents are of any class.
        width: filters of the first convolution; the second has twice as many.
    """
    if classes:
        raise ValueError("autoencoder makes images again, of whatever class: leave out by in task.image_generation")
    image = variational.image_input(input_shape, "autoencoder")
    check_latent("autoencoder", input_shape, noise_shape)
    noise = keras.Input(noise_shape, name=NOISE)
    mean, log_variance = encoded(image, noise_shape[-1], width)
    made = decoded(noise, input_shape[-1], width)
    return keras.Model({IMAGE: image, NOISE: noise}, {**made, MEAN: mean, LOG_VARIANCE: log_variance},
                       name="autoencoder")


def encoded(image: Any, channels: int, width: int) -> tuple[Any, Any]:
    """Return mean and logarithm of the variance of images' latents, (batch, height / 4, width / 4, channels) each."""
    x = keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu", kernel_initializer="he_normal")(
        variational.maps(image, width))
    normalized = keras.layers.BatchNormalization(momentum=MOMENTUM, center=False, scale=False, name=MEAN)
    return (normalized(keras.layers.Conv2D(channels, 1)(x)), keras.layers.Conv2D(channels, 1, name=LOG_VARIANCE)(x))


def decoded(latent: Any, channels: int, width: int) -> dict[str, Any]:
    """Return the pictures of latents, and the distributions of their pixels."""
    x = keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu", kernel_initializer="he_normal")(latent)
    return variational.pixels(x, channels, width)


def check_latent(name: str, input_shape: tuple[int, ...], noise_shape: tuple[int, ...]) -> None:
    """Raise ValueError where a latent is not a map of a quarter of an image's sides."""
    small = tuple(side // 2 ** STEPS for side in input_shape[:2])
    if len(noise_shape) != 3 or tuple(noise_shape[:2]) != small:
        raise ValueError(f"{name}: the latent of {input_shape[0]} x {input_shape[1]} pixels is a map of {small[0]} x "
                         f"{small[1]}, and this is {tuple(noise_shape)}: set data.noise.size to [{small[0]}, "
                         f"{small[1]}, 4]")
