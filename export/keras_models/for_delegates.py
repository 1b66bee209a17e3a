"""A model in the forms of its layers that delegates of GPUs and NPUs take: of four dimensions at most.

Keras normalizes groups of channels, and repeats pixels, in tensors of five dimensions, which no delegate takes. The
trained model keeps the layers that it was made of; what is written for devices computes the same in another way.
"""
from __future__ import annotations

import functools
import math
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras


def for_delegates(model: Any) -> Any:
    """Return a model with the same weights, and the same values but for the last digits, whose group normalizations
    and nearest upsamplings take four dimensions at most; itself where it has none of them.

    Args:
        model: functional, of Keras 3; one of tf_keras is returned as it is.
    """
    if not isinstance(model, keras.Model) or all(_form(layer) is layer for layer in model.layers):
        return model
    return keras.models.clone_model(model, clone_function=_form)


def _form(layer: Any) -> Any:
    """Return what stands for a layer or another operation: itself where it is taken as it is."""
    is_normalizing = isinstance(layer, keras.layers.GroupNormalization)
    if not is_normalizing and not isinstance(layer, keras.layers.UpSampling2D):
        return layer
    sides = layer.input.shape[1:]
    if None in sides:
        return layer
    if is_normalizing:
        is_last = layer.axis in (-1, len(sides)) and len(sides) > 1
        return _normalized_class()(layer, name=layer.name) if is_last else layer
    is_nearest = layer.interpolation == "nearest" and layer.data_format == "channels_last"
    return _enlarged_class()(layer.size, name=layer.name) if is_nearest else layer


@functools.cache
def _normalized_class() -> type:
    """Return group normalization of four dimensions, made once, on demand."""

    class FourDimensionalGroupNormalization(keras.layers.Layer):
        """Group normalization with the weights of another layer.

        Args:
            source: the layer that has the weights.
        """

        def __init__(self, source: Any, **others: Any):
            super().__init__(**others)
            self.source = source

        def call(self, x: Any) -> Any:
            """Return x, (batch, ..., channels), normalized."""
            source, (*sides, channels) = self.source, x.shape[1:]
            groups = source.groups
            grouped = (math.prod(sides), groups, channels // groups)
            apart = keras.ops.reshape(x, (-1, *grouped))
            centred = apart - keras.ops.mean(apart, axis=(1, 3), keepdims=True)
            variance = keras.ops.mean(centred * centred, axis=(1, 3), keepdims=True)
            y = keras.ops.reshape(centred * keras.ops.rsqrt(variance + source.epsilon), (-1, *sides, channels))
            y = y * source.gamma if source.scale else y
            return y + source.beta if source.center else y

    return FourDimensionalGroupNormalization


@functools.cache
def _enlarged_class() -> type:
    """Return nearest upsampling by an operator that resizes, made once, on demand."""

    class Enlarged(keras.layers.Layer):
        """Maps with each pixel repeated.

        Args:
            factors: of height and width.
        """

        def __init__(self, factors: tuple[int, int], **others: Any):
            super().__init__(**others)
            self.factors = factors

        def call(self, x: Any) -> Any:
            """Return x, (batch, height, width, channels), enlarged."""
            sizes = [side * factor for side, factor in zip(x.shape[1:3], self.factors, strict=True)]
            return keras.ops.image.resize(x, sizes, interpolation="nearest")

    return Enlarged
