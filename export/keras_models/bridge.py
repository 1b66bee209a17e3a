"""The bridge: the exact rebuilding of a Keras 3 model in tf_keras, and back.

tf_keras is Keras 2, which the model optimization toolkit, multi-worker training and the fused integer kernels for
recurrent layers still need. A graph is played again, node by node, with each layer replaced by its namesake of the
other library: same configuration, same weights.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

from etils import epy

from export.keras_models import tensorflow_function
from export.keras_models.operations import bound, operation_class

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tf_keras

#: Settings that are no part of what a layer computes once its weights are set, that the other library writes
#: differently, or that are set on the layer itself.
DROPPED = ("dtype", "build_config", "batch_input_shape", "batch_shape", "quantization_config", "shared_object_id",
           "query_shape", "key_shape", "value_shape", "softmax_robust_masking", "implementation", "use_cudnn",
           "num_constants", "rng_type", "trainable")
#: What layers that hold others call them: class to (attribute, argument).
HOLDERS = {"Bidirectional": ("forward_layer", "layer"), "TimeDistributed": ("layer", "layer"), "RNN": ("cell", "cell")}
#: Settings that the other library calls by another name: (class, its name) to the other's, in both directions.
RENAMED = {("LeakyReLU", "negative_slope"): "alpha", ("LeakyReLU", "alpha"): "negative_slope"}
#: Activations of one name that are two functions: x / 6 + 1 / 2 in Keras 3, x / 5 + 1 / 2 in tf_keras.
DIFFERENT = {"hard_sigmoid"}
_custom_rules: dict[str, Callable[[Any], Any]] = {}


class BridgeError(ValueError):
    """A model that cannot be brought over. The message names the layer, its class and what to do."""


def crosses_as(class_name: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Return a decorator that registers how a custom layer crosses the bridge.

    Args:
        class_name: of the layer to be replaced, on either side.

    Example:
        >>> @crosses_as("Scale")
        ... def scale(layer):
        ...     return TfKerasScale(layer.factor, name=layer.name)
    """
    def add(rule: Callable[[Any], Any]) -> Callable[[Any], Any]:
        _custom_rules[class_name] = rule
        return rule
    return add


def to_tf_keras(model: keras.Model, operation_kind: type | None = None) -> tf_keras.Model:
    """Return the same model in tf_keras: names, weights, trainable flags, regularizers and moving statistics.

    Its inputs and outputs have the structure of the model's: one tensor, a list, or a dict by name.

    Args:
        model: functional or Sequential, built; nested models and shared layers included.
        operation_kind: the class of layers that stand for `keras.ops` nodes; see `operation_class`, the default.

    Raises:
        BridgeError: a subclassed model, a layer that tf_keras does not have, or weights that do not fit.
    """
    graph = keras_graph(model)
    layers: dict[int, Any] = {}

    def replaced(operation: Any) -> Any:
        if id(operation) not in layers:
            layers[id(operation)] = _to_tf_keras_layer(operation, operation_kind or operation_class())
        layer = layers[id(operation)]
        # a Keras 3 graph names every mask that is used; tf_keras would hand on more by itself
        more = {"mask": None} if isinstance(layer, (tf_keras.layers.RNN, tf_keras.layers.Bidirectional)) else {}
        return lambda *arguments, **settings: layer(*arguments, **_without_mode({**more, **settings}))

    inputs = [tf_keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=plain_name(tensor))
              for tensor in graph.inputs]
    outputs = graph._run_through_graph(inputs, operation_fn=replaced)
    rebuilt = tf_keras.Model(keras.tree.pack_sequence_as(graph.input, inputs), outputs, name=model.name)
    for operation in graph.operations:
        is_layer = isinstance(operation, keras.layers.Layer) and not isinstance(operation, keras.Model)
        if is_layer and id(operation) in layers and hasattr(layers[id(operation)], "weights"):
            _copy_weights(operation, layers[id(operation)])
    return rebuilt


def to_keras(model: tf_keras.Model) -> keras.Model:
    """Return the same model in Keras 3: what `to_tf_keras` does, the other way. Raises BridgeError."""
    if not isinstance(model, (tf_keras.Sequential, tf_keras.src.engine.functional.Functional)) or not model.built:
        raise _no_graph(model)
    layers: dict[int, Any] = {}
    tensors: dict[int, Any] = {}
    for tensor in model.inputs:
        shape, name = tuple(tensor.shape), plain_name(tensor)
        tensors[id(tensor)] = keras.Input(batch_shape=shape, dtype=tensor.dtype.name, name=name)
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            if id(node.layer) not in layers:
                layers[id(node.layer)] = _to_keras_layer(node.layer)
            arguments, settings = _filled_in(node, tensors)
            outputs = layers[id(node.layer)](*arguments, **settings)
            for tensor, output in zip(keras.tree.flatten(node.outputs), keras.tree.flatten(outputs), strict=True):
                tensors[id(tensor)] = output
    inputs, outputs = (keras.tree.map_structure(lambda tensor: tensors[id(tensor)], structure)
                       for structure in (model._nested_inputs, model._nested_outputs))
    rebuilt = keras.Model(inputs, outputs, name=model.name)
    for layer in model.layers:
        if id(layer) in layers and hasattr(layers[id(layer)], "weights") and not isinstance(layer, tf_keras.Model):
            _copy_weights(layer, layers[id(layer)])
    return rebuilt


def known_names() -> Any:
    """Return a context in which tf_keras can make layers of a bridged model again: it knows the activations of Keras
    3 by their names, and the layers that only its own networks have."""
    functions = {name: function for name, function in vars(keras.activations).items()
                 if callable(function) and not name.startswith("_")}
    missing = {name: function for name, function in functions.items()
               if name in DIFFERENT or not hasattr(tf_keras.activations, name)}
    return tf_keras.utils.custom_object_scope(missing | _of_networks(tf_keras.layers))


def copy_by_name(source: Any, target: Any) -> None:
    """Give the layers of a model the weights of their namesakes in another, of either library. Raises BridgeError."""
    namesakes = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.weights:
            if layer.name not in namesakes:
                raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has no namesake in {source.name}")
            _copy_weights(namesakes[layer.name], layer)


def keras_graph(model: Any) -> Any:
    """Return the functional model that a functional or Sequential one is. Raises BridgeError for others."""
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if not isinstance(graph, keras.src.models.functional.Functional):
        raise _no_graph(model)
    return graph


def plain_name(tensor: Any) -> str:
    """Return the name of a model's input, of either library, as callers give it: without TensorFlow's ":0"."""
    return tensor.name.split(":")[0]


def _no_graph(model: Any) -> BridgeError:
    return BridgeError(f"{model.name} ({type(model).__name__}) is not a functional or Sequential model with known "
                       "shapes; rebuild it as one")


def _with_a_rule(layer: Any) -> str:
    """Return what to do about a layer that does not cross."""
    return f'register a replacement for it with export.keras_models.bridge.crosses_as("{type(layer).__name__}")'


def _to_tf_keras_layer(operation: Any, operation_kind: type) -> Any:
    kind = type(operation).__name__
    if kind in _custom_rules:
        return _custom_rules[kind](operation)
    if isinstance(operation, keras.Model):
        return to_tf_keras(operation, operation_kind)
    if not isinstance(operation, keras.layers.Layer) or _crosses_as_it_is(operation):
        return bound(operation, operation_kind)
    return _namesake(operation, tf_keras.layers, "tf_keras")


def _crosses_as_it_is(layer: Any) -> bool:
    """Return whether a layer of Keras 3 can be called by one of tf_keras: it has no weights, no state but a seed, and
    no namesake there."""
    if isinstance(layer, tensorflow_function.function_class()):
        return True
    own = not hasattr(tf_keras.layers, type(layer).__name__) and type(layer).__module__.startswith("keras.")
    return own and all("seed" in variable.path for variable in layer.variables)


def _to_keras_layer(layer: Any) -> Any:
    kind = type(layer).__name__
    if kind in _custom_rules:
        return _custom_rules[kind](layer)
    if isinstance(layer, tf_keras.Model):
        return to_keras(layer)
    if isinstance(layer, operation_class()):
        return lambda tensors: _played(layer, tensors)
    if kind in tensorflow_function.KINDS:
        return tensorflow_function.in_keras(layer, _keras_name(layer.name))
    return _namesake(layer, keras.layers, "keras")


def _played(layer: Any, tensors: Any) -> Any:
    """Return what a `keras.ops` node makes of tensors of Keras 3."""
    arguments, settings = layer.arguments(tensors)
    return layer.operation(*arguments, **settings)


def _namesake(layer: Any, library: Any, name: str) -> Any:
    """Return the layer of the same class in the other library, with the same configuration as far as that library knows
    it."""
    kind = getattr(library, type(layer).__name__, None) or _of_networks(library).get(type(layer).__name__)
    if kind is None:
        raise BridgeError(f"layer {layer.name} is a {type(layer).__name__}, which {name} does not have: "
                          f"{_with_a_rule(layer)}")
    held = _held(layer, library, name)
    config = _config(layer, kind, name, left_out=("layer", "backward_layer", "cell") if held else ())
    if name == "keras":
        config["name"] = _keras_name(layer.name)
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


def _of_networks(library: Any) -> dict[str, Any]:
    """Return the layers that belong to networks of a library's applications, ConvNeXt's, by name.

    Args:
        library: keras.layers or tf_keras.layers.
    """
    if library is keras.layers:
        from keras.src.applications import convnext
    else:
        from tf_keras.src.applications import convnext
    return {name: getattr(convnext, name) for name in ("LayerScale", "StochasticDepth")}


def _config(layer: Any, kind: type, name: str, left_out: Collection[str]) -> dict[str, Any]:
    """Return a layer's configuration in the words of its class in the other library. Raises BridgeError at a setting
    that this does not have, unless it says what goes without saying."""
    settings = _settings(kind)
    defaults = _settings(type(layer))
    config: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        key, value = RENAMED.get((type(layer).__name__, key), key), _plain(value)
        if key in DROPPED or key in left_out or key.endswith(("initializer", "constraint")):
            continue
        if key in settings:
            config[key] = value
        elif value and value != _plain(defaults.get(key)) and (key, value) != ("data_format", "channels_last"):
            raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has {key} = {value}, which {name} cannot "
                              f"do: leave it out, or {_with_a_rule(layer)}")
    return config


def _held(layer: Any, library: Any, name: str) -> dict[str, Any]:
    """Return the layers that a layer holds, as arguments of its class in the other library."""
    if type(layer).__name__ not in HOLDERS:
        return {}
    attribute, argument = HOLDERS[type(layer).__name__]
    inner = getattr(layer, attribute)
    if argument == "cell" and hasattr(inner, "cells"):
        return {argument: [_namesake(cell, library, name) for cell in inner.cells]}
    rebuilt = _namesake(inner, library, name)
    if attribute == "forward_layer":  # both libraries put this before its name, each time again
        if type(layer.backward_layer) is not type(inner):
            raise BridgeError(f"layer {layer.name} (Bidirectional) goes backwards with another layer than forwards: "
                              f"{_with_a_rule(layer)}")
        rebuilt = type(rebuilt).from_config({**rebuilt.get_config(), "name": inner.name.removeprefix("forward_")})
    return {argument: rebuilt}


def _keras_name(name: str) -> str:
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
        raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has the activation {word} of tf_keras, which "
                          f"is another function in Keras 3: {_with_a_rule(layer)}")
    return word if getattr(keras.activations, word, None) is not None else function


def _plain(value: Any) -> Any:
    """Return a serialized object in the form that both libraries read: a class name and a configuration."""
    if isinstance(value, dict) and "class_name" in value:
        return {"class_name": value["class_name"], "config": _plain(value["config"])}
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _copy_weights(source: Any, target: Any) -> None:
    weights = source.get_weights()
    shapes = [weight.shape for weight in weights]
    expected = [tuple(weight.shape) for weight in target.weights]
    if shapes != expected:
        raise BridgeError(f"layer {source.name} ({type(source).__name__}) has weights {shapes}, its replacement "
                          f"{expected}: {_with_a_rule(source)}")
    target.set_weights(weights)
    if type(target).__name__ == "Normalization" and weights:
        target.finalize_state()


def _without_mode(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call without `training`: a graph of Keras 3 writes down what that was when it was made,
    and obeys whoever asks the model; tf_keras would obey what is written down."""
    return {key: value for key, value in settings.items() if key != "training"}


def _filled_in(node: Any, replacements: dict[int, Any]) -> tuple[Any, Any]:
    """Return the arguments of a tf_keras node, with the tensors of the Keras model in place of its own."""
    arguments, settings = tf.nest.map_structure(lambda value: replacements.get(id(value), value),
                                                (node.call_args, _without_mode(node.call_kwargs)))
    is_recurrent = isinstance(node.layer, (tf_keras.layers.RNN, tf_keras.layers.Bidirectional))
    if is_recurrent and isinstance(arguments[0], (list, tuple)):
        (first, *states), *others = arguments  # tf_keras hands an initial state on as further inputs
        arguments, settings = (first, *others), {**settings, "initial_state": list(states)}
    return arguments, settings
