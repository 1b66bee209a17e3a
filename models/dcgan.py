"""Deep convolutional GANs: a generator that makes pictures, and a discriminator that tells them from real ones."""
from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from etils import epy
from pydantic import Field

from models import blocks
from models.outputs import library_of
from models.registry import register
from models.variational import CONDITION, GENERATED, IMAGE, NOISE, beside_condition, inputs_of

with epy.lazy_imports():
    import keras

#: What the discriminator says of an image: the higher, the more it looks like a real one.
REALNESS = "realness"
#: The slope of the discriminator's activations below 0, and the deviation that weights begin with, as in the paper.
SLOPE, DEVIATION = 0.2, 0.02


class Parts(NamedTuple):
    """The two players, which share the layers of the model."""

    generator: Any
    discriminator: Any


@register("dcgan", task="image_generation", paper="https://arxiv.org/abs/1511.06434",
          at={"input_shape": (64, 64, 3), "noise_shape": (100,), "classes": 0})
def dcgan(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], classes: int, *,
          width: blocks.Filters = 128, depth: Annotated[int, Field(ge=1, le=6)] = 4,
          kernel: Annotated[int, Field(ge=2, le=7)] = 5, momentum: blocks.Momentum = 0.9,
          normalization: Literal["batch", "spectral", "none"] = "batch") -> keras.Model:
    """DCGAN: transposed convolutions make pictures of noise, convolutions tell them from real ones.

    Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
    2016, figure 1. At (64, 64, 3) and 100 numbers of noise 36,095,364 parameters in both players, and 1,280 M
    multiply-adds. A class that is asked for stands beside the noise, and what the discriminator sees is compared with a
    vector of it (Miyato & Koyama, "cGANs with Projection Discriminator", 2018).

    Args:
        input_shape: (height, width, channels) in pixels; both sides multiples of 2**depth.
        noise_shape: how many numbers of noise, one number.
        classes: of which one is asked for; 0 where none is.
        width: filters next to the pixels; each step further has twice as many.
        depth: doublings of the resolution.
        kernel: side of the convolutions.
        momentum: of the moving statistics.
        normalization: of the discriminator: of batches, as the paper has it, of its weights (Miyato et al., "Spectral
            Normalization for Generative Adversarial Networks", 2018), or none, as the Wasserstein loss wants it.
    """
    inputs = inputs_of(input_shape, noise_shape, classes, "dcgan", depth)
    make = _Layers(kernel, momentum, normalization)
    made = _generated(make, beside_condition(inputs), input_shape, width, depth)
    realness = _judged(make, inputs[IMAGE], inputs.get(CONDITION), width, depth)
    return keras.Model(inputs, {GENERATED: made, REALNESS: realness}, name="dcgan")


def parts(model: Any) -> Parts:
    """Return the generator, from noise to `generated`, and the discriminator, from an image to `realness`, of a model
    of Keras 3 or tf_keras; a condition, where there is one, goes into both."""
    library = library_of(model)
    asked = {name: tensor for name, tensor in model.input.items() if name != IMAGE}
    shown = {name: tensor for name, tensor in model.input.items() if name != NOISE}
    return Parts(library.Model(asked, {GENERATED: model.output[GENERATED]}, name=model.name),
                 library.Model(shown, {REALNESS: model.output[REALNESS]}))


class _Layers:
    """Makes the layers of both players."""

    def __init__(self, kernel: int, momentum: float, normalization: str):
        self.kernel = kernel
        self.momentum = momentum
        self.normalization = normalization

    @property
    def start(self) -> Any:
        return keras.initializers.RandomNormal(stddev=DEVIATION)

    def normalized(self, x: Any) -> Any:
        return keras.layers.BatchNormalization(momentum=self.momentum)(x)

    def enlarged(self, x: Any, filters: int, bias: bool = False) -> Any:
        """Return maps of twice the resolution."""
        return keras.layers.Conv2DTranspose(filters, self.kernel, 2, padding="same", use_bias=bias,
                                            kernel_initializer=self.start)(x)

    def seen(self, layer: Any, x: Any) -> Any:
        """Return what a layer of the discriminator makes of x."""
        return keras.layers.SpectralNormalization(layer)(x) if self.normalization == "spectral" else layer(x)


def _generated(make: _Layers, x: Any, input_shape: tuple[int, int, int], width: int, depth: int) -> Any:
    """Return pictures, 0..255."""
    height, across, channels = input_shape
    small = height // 2 ** depth, across // 2 ** depth, width * 2 ** (depth - 1)
    x = keras.layers.Dense(small[0] * small[1] * small[2], use_bias=False, kernel_initializer=make.start)(x)
    x = keras.layers.ReLU()(make.normalized(keras.layers.Reshape(small)(x)))
    for step in reversed(range(1, depth)):
        x = keras.layers.ReLU()(make.normalized(make.enlarged(x, width * 2 ** (step - 1))))
    x = keras.layers.Activation("tanh")(make.enlarged(x, channels, bias=True))
    return keras.layers.Rescaling(127.5, offset=127.5, name=GENERATED)(x)


def _judged(make: _Layers, pixels: Any, condition: Any, width: int, depth: int) -> Any:
    """Return how real images look, (batch, 1)."""
    x = blocks.scaled(pixels)
    for step in range(depth):
        normalizes = make.normalization == "batch" and step > 0
        layer = keras.layers.Conv2D(width * 2 ** step, make.kernel, 2, padding="same", use_bias=not normalizes,
                                    kernel_initializer=make.start)
        x = make.seen(layer, x)
        x = keras.layers.LeakyReLU(negative_slope=SLOPE)(make.normalized(x) if normalizes else x)
    x = keras.layers.Flatten()(x)
    dense = keras.layers.Dense(1, kernel_initializer=make.start, name=REALNESS)
    if condition is None and make.normalization != "spectral":
        return dense(x)
    alone = make.seen(dense, x)
    if condition is None:
        return alone
    vector = make.seen(keras.layers.Dense(x.shape[-1], use_bias=False, kernel_initializer=make.start), condition)
    together = keras.layers.Dot(axes=1)([x, vector])
    return keras.layers.Add()([alone, together])
