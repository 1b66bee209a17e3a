"""Styles: what noise is mapped to, before it says how each layer of a generator scales its maps."""
from __future__ import annotations

import functools
from typing import Any

from etils import epy

from models.registry import own_layer

with epy.lazy_imports():
    import keras

#: A small number below a root, and how much of the mean of all styles a step keeps, as the authors have them.
EPSILON, KEPT = 1e-8, 0.995


def normalized(x: Any) -> Any:
    """Return rows over the root of the mean of their squares."""
    return x * keras.ops.rsqrt(keras.ops.mean(x * x, axis=-1, keepdims=True) + EPSILON)


@own_layer
@functools.cache
def styles_class() -> type:
    """Return the layer that hands styles out, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class Styles(keras.layers.Layer):
        """A style for each layer of a generator, the same for all: nearer to the mean of all styles in inference.

        Beside it stands what the training of a generator has to remember: that mean, and how far pictures change with
        styles, see `training.learners.styled`.

        Args:
            count: of the layers.
            truncation: of the way from the mean to a style, what is gone; 1 is all of it.
        """

        def __init__(self, count: int, truncation: float = 1.0, **others: Any):
            super().__init__(**others)
            self.count, self.truncation = count, truncation

        def build(self, shape: Any) -> None:
            kept: dict[str, Any] = {"initializer": "zeros", "trainable": False, "aggregation": "mean"}
            self.average = self.add_weight(shape=(shape[-1],), name="average", **kept)
            self.path_length = self.add_weight(shape=(), name="path_length", **kept)

        def call(self, style: Any, training: Any = False) -> list[Any]:
            """Return `count` styles of one, (batch, units) each."""
            if training:
                self.note(style)
            elif self.truncation != 1:
                average = keras.ops.cast(self.average, style.dtype)
                style = average + self.truncation * (style - average)
            return [style] * self.count

        def note(self, style: Any) -> None:
            """Move the mean towards that of a batch."""
            mean = keras.ops.cast(keras.ops.mean(style, axis=0), self.average.dtype)
            self.average.assign(KEPT * self.average + (1 - KEPT) * mean)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "count": self.count, "truncation": self.truncation}

    return Styles


@own_layer
@functools.cache
def levels_class() -> type:
    """Return the layer that makes pixels, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class Levels(keras.layers.Layer):
        """Pixels 0..255 of what is -1..1; what lies beyond is cut off in inference alone, where nothing is learnt
        through it."""

        def call(self, x: Any, training: Any = False) -> Any:
            pixels = x * 127.5 + 127.5
            return pixels if training else keras.ops.clip(pixels, 0.0, 255.0)

    return Levels


@own_layer
@functools.cache
def normalized_class() -> type:
    """Return the layer that normalizes rows, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class NormalizedRows(keras.layers.Layer):
        """Rows over the root of the mean of their squares."""

        def call(self, x: Any) -> Any:
            return normalized(x)

    return NormalizedRows


@own_layer
@functools.cache
def doubled_class() -> type:
    """Return the layer that doubles images, made once, on demand: once it is, files with it can be loaded."""
    from models.equalized import doubled

    @keras.saving.register_keras_serializable("litepress")
    class DoubledImages(keras.layers.Layer):
        """Images of twice the resolution, see `models.equalized.doubled`."""

        def call(self, x: Any) -> Any:
            return doubled(x)

    return DoubledImages
