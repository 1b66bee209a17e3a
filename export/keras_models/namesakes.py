"""The same layer in the other library: what the bridge makes of each, out of its class and its configuration."""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

from etils import epy

from export.keras_models.language_layers import layers_for_keras_2

with epy.lazy_imports():
    import keras
    import tf_keras

#: Settings that are no part of what a layer computes once its weights are set, that the other library writes
#: differently, or that are set on the layer itself.
DROPPED = ("dtype", "build_config", "batch_input_shape", "batch_shape", "quantization_config", "shared_object_id",
           "query_shape", "key_shape", "value_shape", "softmax_robust_masking", "implementation", "use_cudnn",
           "num_constants", "rng_type", "trainable")
#: Constraints on weights that both libraries have, under the same names and settings.
CONSTRAINTS = ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")
#: What layers that hold others call them: class to (attribute, argument).
HOLDERS = {"Bidirectional": ("forward_layer", "layer"), "TimeDistributed": ("layer", "layer"), "RNN": ("cell", "cell")}
#: Settings that the other library calls by another name: (class, its name) to the other's, in both directions.
RENAMED = {("LeakyReLU", "negative_slope"): "alpha", ("LeakyReLU", "alpha"): "negative_slope"}
#: How the classes begin that add a bias to a convolution.
CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv", "SeparableConv")
#: Activations of one name that are two functions: x / 6 + 1 / 2 in Keras 3, x / 5 + 1 / 2 in tf_keras.
DIFFERENT = {"hard_sigmoid"}


class BridgeError(ValueError):
    """A model that cannot be brought over. The message names the layer, its class and what to do."""


def known_names(bridged: bool = True) -> Any:
    """Return a context in which tf_keras can make layers again: it knows the layers that only its own networks have,
    and activations of Keras 3 by their names.

    Args:
        bridged: layers of a model that crossed the bridge; else of a file of Keras 2, where a name that both libraries
            have means the function of Keras 2.
    """
    functions = {name: function for name, function in vars(keras.activations).items()
                 if callable(function) and not name.startswith("_")}
    missing = {name: function for name, function in functions.items()
               if (bridged and name in DIFFERENT) or not hasattr(tf_keras.activations, name)}
    own = hard_sigmoid_of_keras_2()
    return tf_keras.utils.custom_object_scope(missing | of_networks(tf_keras.layers) | {own.__name__: own})


@functools.cache
def hard_sigmoid_of_keras_2() -> Callable[[Any], Any]:
    """Return the hard sigmoid of Keras 2 for Keras 3, x / 5 + 1 / 2; once it is asked for, files with it can be
    loaded."""
    @keras.saving.register_keras_serializable("litepress")
    def hard_sigmoid_2(x: Any) -> Any:
        return keras.ops.clip(x * 0.2 + 0.5, 0.0, 1.0)

    return hard_sigmoid_2


def adds_bias_along_the_width(layer: Any, shape: Any) -> bool:
    """Return whether Keras 3 adds a layer's bias along the last axis of its output though its channels are the first:
    it tells one from the other by their sizes, and takes the last where both are alike.

    Args:
        shape: of the output.
    """
    first = type(layer).__name__.startswith(CONVOLUTIONS) and layer.data_format == "channels_first"
    return first and layer.use_bias and shape[1] is not None and shape[1] == shape[-1] != 1


def with_a_rule(layer: Any) -> str:
    """Return what to do about a layer that does not cross."""
    return f'register a replacement for it with export.keras_models.bridge.crosses_as("{type(layer).__name__}")'


def namesake(layer: Any, library: Any, name: str) -> Any:
    """Return the layer of the same class in the other library, with the same configuration as far as that library knows
    it."""
    kind = getattr(library, type(layer).__name__, None) or of_networks(library).get(type(layer).__name__)
    if kind is None:
        raise BridgeError(f"layer {layer.name} is a {type(layer).__name__}, which {name} does not have: "
                          f"{with_a_rule(layer)}")
    held = _held(layer, library, name)
    config = _config(layer, kind, name, left_out=("layer", "backward_layer", "cell") if held else ())
    if name == "keras":
        config["name"] = keras_name(layer.name)
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    for key in ("activation", "recurrent_activation"):
        if key in config:
            config[key] = _activation(layer, key, name)
    if name == "tf_keras" and type(layer).__name__ == "BatchNormalization":
        config["fused"] = False  # the fused kernel estimates the moving variance without bias, Keras 3 with
    # tf_keras' attention asks from_config for shapes; without them it is built when it is called, as every other layer
    by_arguments = held or type(layer).__name__ == "MultiHeadAttention"
    rebuilt = kind(**config, **held) if by_arguments else kind.from_config(config)
    rebuilt.trainable = layer.trainable
    return rebuilt


def of_networks(library: Any) -> dict[str, Any]:
    """Return the layers that belong to networks of a library's applications, ConvNeXt's and Inception-ResNet's, and
    those of language models that Keras 3 alone has, by name.

    Args:
        library: keras.layers or tf_keras.layers.
    """
    if library is keras.layers:
        from keras.src.applications import convnext, inception_resnet_v2
        others: dict[str, Any] = {}
    else:
        from tf_keras.src.applications import convnext, inception_resnet_v2
        others = layers_for_keras_2()
    return {**others, "CustomScaleLayer": inception_resnet_v2.CustomScaleLayer, "LayerScale": convnext.LayerScale,
            "StochasticDepth": convnext.StochasticDepth}


def _config(layer: Any, kind: type, name: str, left_out: Collection[str]) -> dict[str, Any]:
    """Return a layer's configuration in the words of its class in the other library. Raises BridgeError at a setting
    that this does not have, unless it says what goes without saying."""
    settings = _settings(kind)
    defaults = _settings(type(layer))
    config: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        key, value = RENAMED.get((type(layer).__name__, key), key), _plain(value)
        if key in DROPPED or key in left_out or key.endswith("initializer"):
            continue
        if key.endswith("constraint"):  # those of both libraries; another says nothing of what the layer computes
            if isinstance(value, dict) and value["class_name"] in CONSTRAINTS:
                config[key] = {"class_name": value["class_name"], "config": value["config"]}
            continue
        if key in settings:
            config[key] = value
        elif value and value != _plain(defaults.get(key)) and (key, value) != ("data_format", "channels_last"):
            raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has {key} = {value}, which {name} cannot "
                              f"do: leave it out, or {with_a_rule(layer)}")
    return config


def _held(layer: Any, library: Any, name: str) -> dict[str, Any]:
    """Return the layers that a layer holds, as arguments of its class in the other library."""
    if type(layer).__name__ not in HOLDERS:
        return {}
    attribute, argument = HOLDERS[type(layer).__name__]
    inner = getattr(layer, attribute)
    if argument == "cell" and hasattr(inner, "cells"):
        return {argument: [namesake(cell, library, name) for cell in inner.cells]}
    rebuilt = namesake(inner, library, name)
    if attribute == "forward_layer":  # both libraries put this before its name, each time again
        if type(layer.backward_layer) is not type(inner):
            raise BridgeError(f"layer {layer.name} (Bidirectional) goes backwards with another layer than forwards: "
                              f"{with_a_rule(layer)}")
        rebuilt = type(rebuilt).from_config({**rebuilt.get_config(), "name": inner.name.removeprefix("forward_")})
    return {argument: rebuilt}


def keras_name(name: str) -> str:
    """Return a layer's name as Keras 3 takes it, which has no slash."""
    return name.replace("/", "_")


def _settings(kind: type) -> dict[str, Any]:
    """Return the settings of a layer class, with their defaults."""
    settings: dict[str, Any] = {}
    for base in kind.__mro__:
        parameters = inspect.signature(vars(base).get("__init__", base)).parameters
        settings = {name: parameter.default for name, parameter in parameters.items()} | settings
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            break  # it hands nothing on
    settings["name"] = None
    if issubclass(kind, (keras.layers.RNN, tf_keras.layers.RNN)):
        settings["zero_output_for_mask"] = False  # which both take among the unnamed
    return settings


def _activation(layer: Any, which: str, name: str) -> Any:
    """Return an activation of a layer for the other library: by name where both mean the same, else Keras 3's own
    function."""
    function = getattr(layer, which)
    word = getattr(function, "__name__", type(function).__name__)
    if name == "tf_keras":
        return word if hasattr(tf_keras.activations, word) and word not in DIFFERENT else function
    if word in DIFFERENT and function is getattr(tf_keras.activations, word):
        return hard_sigmoid_of_keras_2()
    return word if getattr(keras.activations, word, None) is not None else function


def _plain(value: Any) -> Any:
    """Return a serialized object in the form that both libraries read: a class name and a configuration."""
    if isinstance(value, dict) and "class_name" in value:
        return {"class_name": value["class_name"], "config": _plain(value["config"])}
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
