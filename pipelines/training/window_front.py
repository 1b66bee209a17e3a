"""The window that scans are looked at with, as the first layers of a model."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from etils import epy

from export.keras_models import rebuild
from pipelines.features.scan import LEVELS

with epy.lazy_imports():
    import keras as keras_library

if TYPE_CHECKING:
    import keras


def added(model: keras.Model, windows: Mapping[str, tuple[float, float]]) -> keras.Model:
    """Return a model of raw pixels 0..255 as one of scans: it scales them to these and cuts off what is outside of
    their windows. It shares the layers; itself where there are no scans.

    Args:
        model: whose inputs are called as the features are.
        windows: by input, the values that are black and white.
    """
    if not windows:
        return model
    inputs = [rebuild.fresh_input(tensor) for tensor in model.inputs]
    seen = [_seen(tensor, windows[tensor.name]) if tensor.name in windows else tensor for tensor in inputs]
    outputs = rebuild.replayed(model, seen, lambda operation: operation)
    return keras_library.Model(keras_library.tree.pack_sequence_as(model.input, inputs), outputs, name=model.name)


def _seen(values: keras.KerasTensor, window: tuple[float, float]) -> keras.KerasTensor:
    low, high = window
    scale = LEVELS / (high - low)
    layers = keras_library.layers
    levels = layers.Rescaling(scale, offset=-low * scale, name=f"{values.name}_window")(values)
    return layers.ReLU(max_value=LEVELS, name=f"{values.name}_window_cut")(levels)
