"""Models of other number formats, as models of float32: what every way to a phone begins with.

A model that was trained in mixed or half precision, or in float64, keeps its weights and computes in float32; one that
Keras itself quantized (`model.quantize("int8")`) gets the weights that its integers stand for.
"""
from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np

#: Weights that integers stand for, by the scale that they are divided by: what Keras calls both.
SCALED = {"kernel": "kernel_scale", "embeddings": "embeddings_scale"}


def made_of(model: keras.Model) -> keras.Model:
    """Return a model as it would be in float32, with the same names; itself where it is.

    Args:
        model: of Keras 3, any kind that `keras.models.clone_model` takes where it is not float32.

    Raises:
        ValueError: it is quantized in a way that cannot be undone.
    """
    if all(_is_float32(layer) for layer in model._flatten_layers()):
        return model
    copy = keras.models.clone_model(model, clone_function=_copy)
    for source, target in zip(_leaves(model), _leaves(copy), strict=True):
        target.set_weights(_weights(source, target))
    return copy


def _is_float32(layer: Any) -> bool:
    policy = layer.dtype_policy
    return (policy.quantization_mode is None and policy.compute_dtype == "float32"
            and policy.variable_dtype == "float32")


def _leaves(model: Any) -> list[Any]:
    """Return the layers that have weights of their own, inner models' too, in their order."""
    return [layer for layer in model._flatten_layers(include_self=False) if layer._trainable_variables
            or layer._non_trainable_variables]


def _copy(layer: Any) -> Any:
    """Return a layer of the same settings in float32; where it holds a model or a layer, that too."""
    if isinstance(layer, keras.Model):
        return keras.models.clone_model(layer, clone_function=_copy)
    return type(layer).from_config(_in_float32(layer.get_config()))


def _in_float32(config: Any) -> Any:
    """Return a configuration with each number format in it replaced."""
    if isinstance(config, list):
        return [_in_float32(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    return {key: "float32" if key == "dtype" and not _is_whole(value) else _in_float32(value)
            for key, value in config.items() if key != "quantization_config"}


def _is_whole(dtype: Any) -> bool:
    """Return whether a number format is one of whole numbers or text, which a layer means in every model."""
    return isinstance(dtype, str) and dtype.startswith(("int", "uint", "bool", "string")) and "_from_" not in dtype


def _weights(source: Any, target: Any) -> list[np.ndarray]:
    """Return the weights of a layer in float32, in the order of another that has no scales."""
    held = {variable.name: np.asarray(variable.value) for variable in
            (*source._trainable_variables, *source._non_trainable_variables)}
    weights = []
    for variable in (*target._trainable_variables, *target._non_trainable_variables):
        name = variable.name
        if name not in held:
            raise ValueError(f"layer {source.name} ({type(source).__name__}) is quantized as "
                             f"{source.dtype_policy.name}, which cannot be undone here: save the model before it is "
                             "quantized")
        values = held[name]
        if name in SCALED and SCALED[name] in held:
            values = values / held[SCALED[name]]
        if values.shape != tuple(variable.shape):
            raise ValueError(f"layer {source.name} ({type(source).__name__}) has {name} of {values.shape} where "
                             f"float32 has {tuple(variable.shape)}: save the model before it is quantized")
        weights.append(values.astype(variable.dtype))
    return weights
