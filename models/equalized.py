"""Layers whose weights all begin with a deviation of 1 and are scaled while they are used, so that an optimizer that
normalizes gradients moves all of them alike (Karras et al., "Progressive Growing of GANs", 2018, section 4.1); and the
filter that maps are doubled and halved with."""
from __future__ import annotations

import functools
import math
from typing import Any

from etils import epy

from models.registry import own_layer

with epy.lazy_imports():
    import keras
    import numpy as np

#: The slope of activations below 0, and what they are multiplied by, which keeps the deviation.
SLOPE, GAIN = 0.2, math.sqrt(2)
#: The filter along each side, before its sum is 1 (Zhang, "Making Convolutional Networks Shift-Invariant Again", 2019).
TAPS = (1.0, 3.0, 3.0, 1.0)


def active(x: Any) -> Any:
    """Return the activations of maps or rows."""
    return keras.ops.leaky_relu(x, negative_slope=SLOPE) * GAIN


def smoothing() -> np.ndarray:
    """Return the filter, (4, 4), whose sum is 1."""
    taps = np.array(TAPS, "float32") / sum(TAPS)
    return np.outer(taps, taps)


def smoothed(x: Any, padding: int, gain: float = 1.0) -> Any:
    """Return maps under the filter, with `padding` zeros around them first: 3 pixels less a side.

    Args:
        x: (batch, height, width, channels).
        gain: what the result is multiplied by: 4 where every other pixel of a side is a zero that was put there.
    """
    kernel = np.repeat(smoothing()[:, :, None, None] * gain, x.shape[-1], axis=2)
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return keras.ops.depthwise_conv(keras.ops.pad(x, around), keras.ops.cast(kernel, x.dtype), padding="valid")


def doubled(x: Any) -> Any:
    """Return images of twice the resolution: zeros between the pixels, and the filter."""
    channels = x.shape[-1]
    kernel = smoothing()[:, :, None, None] * 4 * np.eye(channels, dtype="float32")
    return keras.ops.conv_transpose(x, keras.ops.cast(kernel, x.dtype), 2, padding="same")


@own_layer
@functools.cache
def dense_class() -> type:
    """Return the dense layer, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class EqualizedDense(keras.layers.Layer):
        """A dense layer, activation(kernel x / sqrt(inputs) + bias).

        Args:
            units: of the output.
            activates: whether there is an activation.
            rate: factor on the learning rate.
        """

        def __init__(self, units: int, activates: bool = False, rate: float = 1.0, **others: Any):
            super().__init__(**others)
            self.units, self.activates, self.rate = units, activates, rate

        def build(self, shape: Any) -> None:
            start = keras.initializers.RandomNormal(stddev=1 / self.rate)
            self.kernel = self.add_weight(shape=(shape[-1], self.units), initializer=start, name="kernel")
            self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

        def call(self, x: Any) -> Any:
            scale = self.rate / math.sqrt(self.kernel.shape[0])
            x = keras.ops.matmul(x, self.kernel * scale) + self.bias * self.rate
            return active(x) if self.activates else x

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units, "activates": self.activates, "rate": self.rate}

    return EqualizedDense


@own_layer
@functools.cache
def convolution_class() -> type:
    """Return the convolution, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class EqualizedConvolution(keras.layers.Layer):
        """A convolution whose maps keep their sides, or have half of them, behind the filter.

        Args:
            filters: of the output.
            size: of the kernel's side, odd.
            halves: whether sides are halved.
            activates: whether there are a bias and an activation.
        """

        def __init__(self, filters: int, size: int, halves: bool = False, activates: bool = True, **others: Any):
            super().__init__(**others)
            self.filters, self.size, self.halves, self.activates = filters, size, halves, activates

        def build(self, shape: Any) -> None:
            start = keras.initializers.RandomNormal(stddev=1.0)
            self.kernel = self.add_weight(shape=(self.size, self.size, shape[-1], self.filters), initializer=start,
                                          name="kernel")
            if self.activates:
                self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

        def call(self, x: Any) -> Any:
            kernel = self.kernel / math.sqrt(math.prod(self.kernel.shape[:3]))
            if self.halves:
                x = keras.ops.conv(smoothed(x, (self.size + 1) // 2), kernel, 2, padding="valid")
            else:
                x = keras.ops.conv(x, kernel, padding="same")
            return active(x + self.bias) if self.activates else x

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "filters": self.filters, "size": self.size, "halves": self.halves,
                    "activates": self.activates}

    return EqualizedConvolution
