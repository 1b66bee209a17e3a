"""Convolutions whose kernels depend on a style (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN",
2020, section 2.2)."""
from __future__ import annotations

import functools
import math
from typing import Any

from etils import epy

from models.equalized import active, smoothed
from models.registry import own_layer

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: A small number below a root.
EPSILON = 1e-8


def modulated(x: Any, scales: Any, kernel: Any, doubles: bool = False, demodulates: bool = True) -> Any:
    """Return maps after a convolution with a kernel for each example: its inputs are scaled by the style, and then each
    of its outputs so that its squares add up to 1.

    Kernels differ from example to example, which few devices compute. A scale of a kernel's inputs is one of the maps
    that it sees, and one of its outputs is one of the maps that it makes, so that all see the same kernel.

    Args:
        x: (batch, height, width, inputs), or (1, height, width, inputs), the same for all.
        scales: of the inputs, (batch, inputs).
        kernel: (side, side, inputs, outputs).
        doubles: whether the result has twice the resolution.
        demodulates: whether outputs are scaled.
    """
    x = x * scales[:, None, None]
    if doubles:
        x = keras.ops.conv_transpose(x, keras.ops.transpose(kernel, (0, 1, 3, 2)), 2, padding="valid")
        x = smoothed(x, 1, gain=4.0)
    else:
        x = keras.ops.conv(x, kernel, padding="same")
    if not demodulates:
        return x
    squares = keras.ops.matmul(scales * scales, keras.ops.sum(kernel * kernel, axis=(0, 1)))
    return x * keras.ops.rsqrt(squares + EPSILON)[:, None, None]


def noise_of(style: Any, number: int, height: int, width: int) -> Any:
    """Return noise of training, (batch, height, width, 1), by the style, which is another one at each step: what a
    training draws needs no memory that a checkpoint would have to keep.

    Args:
        style: (batch, units).
        number: of the layer, which has noise of its own.
    """
    bits = tf.reduce_sum(tf.bitcast(tf.cast(style, tf.float32), tf.int32))
    shape = [tf.shape(style)[0], height, width, 1]
    return tf.ensure_shape(tf.random.stateless_normal(shape, tf.stack([bits, number]), alg="philox"),
                           [None, height, width, 1])


@own_layer
@functools.cache
def styled_class() -> type:
    """Return the convolution with a style and noise, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class StyledConvolution(keras.layers.Layer):
        """A 3 x 3 convolution with a kernel for each example, and noise for each pixel of what it makes.

        Noise is drawn anew while a model is trained. In inference it is always the same, so that a picture depends on
        what it is made of alone.

        Args:
            filters: of the output.
            number: of the layer, by which its noise is drawn.
            doubles: whether the result has twice the resolution.
            start: height and width of the constant that it sees, which is learnt; none where it sees maps.
        """

        def __init__(self, filters: int, number: int, doubles: bool = False,
                     start: tuple[int, int] | None = None, **others: Any):
            super().__init__(**others)
            self.filters, self.number, self.doubles = filters, number, doubles
            self.start = tuple(start) if start else None

        def build(self, shape: Any) -> None:
            normal = keras.initializers.RandomNormal(stddev=1.0)
            if self.start:
                height, width, inputs, units = *self.start, self.filters, shape[-1]
                self.constant = self.add_weight(shape=(1, height, width, inputs), initializer=normal, name="constant")
            else:
                (_, height, width, inputs), (_, units) = shape
            factor = 2 if self.doubles else 1
            self.affine = self.add_weight(shape=(units, inputs), initializer=normal, name="affine")
            self.affine_bias = self.add_weight(shape=(inputs,), initializer="ones", name="affine_bias")
            self.kernel = self.add_weight(shape=(3, 3, inputs, self.filters), initializer=normal, name="kernel")
            self.strength = self.add_weight(shape=(), initializer="zeros", name="strength")
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
            fixed = keras.initializers.RandomNormal(stddev=1.0, seed=self.number)
            self.noise = self.add_weight(shape=(1, factor * height, factor * width, 1), initializer=fixed,
                                         trainable=False, name="noise")

        def call(self, given: Any, training: Any = False) -> Any:
            """Return maps.

            Args:
                given: maps, (batch, height, width, channels), and the style, (batch, units); the style alone where
                    there is a constant.
            """
            x, style = (self.constant, given) if self.start else given
            scales = keras.ops.matmul(style, self.affine / math.sqrt(self.affine.shape[0])) + self.affine_bias
            kernel = self.kernel / math.sqrt(math.prod(self.kernel.shape[:3]))
            x = modulated(x, scales, kernel, self.doubles)
            noise = self.noise
            if training:
                noise = keras.ops.cast(noise_of(style, self.number, *self.noise.shape[1:3]), x.dtype)
            return active(x + noise * self.strength + self.bias)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "filters": self.filters, "number": self.number, "doubles": self.doubles,
                    "start": self.start}

    return StyledConvolution


@own_layer
@functools.cache
def colours_class() -> type:
    """Return the layer that makes colours of maps, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class StyledColours(keras.layers.Layer):
        """A 1 x 1 convolution with a kernel for each example, whose outputs are not scaled.

        Args:
            channels: of the images.
        """

        def __init__(self, channels: int, **others: Any):
            super().__init__(**others)
            self.channels = channels

        def build(self, shape: Any) -> None:
            normal = keras.initializers.RandomNormal(stddev=1.0)
            (_, _, _, inputs), (_, units) = shape
            self.affine = self.add_weight(shape=(units, inputs), initializer=normal, name="affine")
            self.affine_bias = self.add_weight(shape=(inputs,), initializer="ones", name="affine_bias")
            self.kernel = self.add_weight(shape=(1, 1, inputs, self.channels), initializer=normal, name="kernel")
            self.bias = self.add_weight(shape=(self.channels,), initializer="zeros", name="bias")

        def call(self, given: Any) -> Any:
            """Return images of maps and a style."""
            x, style = given
            scales = keras.ops.matmul(style, self.affine / math.sqrt(self.affine.shape[0])) + self.affine_bias
            return modulated(x, scales, self.kernel / math.sqrt(x.shape[-1]), demodulates=False) + self.bias

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "channels": self.channels}

    return StyledColours
