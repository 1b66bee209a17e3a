"""The bridge: the exact rebuilding of a Keras 3 model in tf_keras, and back.

tf_keras is Keras 2, which the model optimization toolkit, multi-worker training and the fused integer kernels for recurrent layers
still need. A graph is played again, node by node, with each layer replaced by its namesake of the other library: same configuration,
same weights.
"""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tf_keras

#: Settings that are no part of what a layer computes once its weights are set, or that the other library writes differently.
DROPPED = ("dtype", "build_config", "batch_input_shape", "batch_shape", "quantization_config", "shared_object_id",
           "query_shape", "key_shape", "value_shape", "softmax_robust_masking", "implementation", "use_cudnn", "num_constants")
#: What layers that hold others call them: class to (attribute, argument).
HOLDERS = {"Bidirectional": ("forward_layer", "layer"), "TimeDistributed": ("layer", "layer"), "RNN": ("cell", "cell")}
#: Settings that the other library calls by another name: (class, its name) to the other's, in both directions.
RENAMED = {("LeakyReLU", "negative_slope"): "alpha", ("LeakyReLU", "alpha"): "negative_slope"}
#: Activations of one name that are two functions: x / 6 + 1 / 2 in Keras 3, x / 5 + 1 / 2 in tf_keras.
DIFFERENT = {"hard_sigmoid"}
#: Where a tensor goes in the arguments of an operation.
PLACE = "tensor"
_own_rules: dict[str, Callable[[Any], Any]] = {}


class BridgeError(ValueError):
    """A model that cannot be brought over. The message names the layer, its class and what to do."""


def crosses_as(class_name: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Decorator: registers how a custom layer crosses the bridge.

    Args:
        class_name: of the layer to be replaced, on either side.

    Example:
        >>> @crosses_as("Scale")
        ... def scale(layer):
        ...     return TfKerasScale(layer.factor, name=layer.name)
    """
    def add(rule: Callable[[Any], Any]) -> Callable[[Any], Any]:
        _own_rules[class_name] = rule
        return rule
    return add


def to_tf_keras(model: keras.Model, operation_kind: type | None = None) -> tf_keras.Model:
    """The same model in tf_keras: names, weights, trainable flags, regularizers and moving statistics.

    Args:
        model: functional or Sequential, built; nested models and shared layers included.
        operation_kind: the class of layers that stand for `keras.ops` nodes; see `operation_class`, which is the default.

    Raises:
        BridgeError: a subclassed model, a layer that tf_keras does not have, or weights that do not fit.
    """
    graph = keras_graph(model)
    layers: dict[int, Any] = {}

    def replaced(operation: Any) -> Any:
        if id(operation) not in layers:
            layers[id(operation)] = _to_tf_keras_layer(operation, operation_kind or operation_class())
        layer = layers[id(operation)]
        if isinstance(layer, (tf_keras.layers.RNN, tf_keras.layers.Bidirectional)):
            # a Keras 3 graph names every mask that is used; tf_keras would hand on more by itself
            return lambda *arguments, **settings: layer(*arguments, **{"mask": None, **settings})
        return layer

    inputs = [tf_keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name.split(":")[0]) for tensor in graph.inputs]
    outputs = graph._run_through_graph(packed(inputs), operation_fn=replaced)
    rebuilt = tf_keras.Model(packed(inputs), outputs, name=model.name)
    for operation in graph.operations:
        if id(operation) in layers and isinstance(operation, keras.layers.Layer) and not isinstance(operation, keras.Model):
            _copy_weights(operation, layers[id(operation)])
    return rebuilt


def to_keras(model: tf_keras.Model) -> keras.Model:
    """The same model in Keras 3: what `to_tf_keras` does, the other way. Raises BridgeError."""
    if not isinstance(model, (tf_keras.Sequential, tf_keras.src.engine.functional.Functional)) or not model.built:
        raise _no_graph(model)
    layers: dict[int, Any] = {}
    known: dict[int, Any] = {}
    inputs = []
    for tensor in model.inputs:
        inputs.append(keras.Input(batch_shape=tuple(tensor.shape), dtype=tensor.dtype.name, name=tensor.name.split(":")[0]))
        known[id(tensor)] = inputs[-1]
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            if id(node.layer) not in layers:
                layers[id(node.layer)] = _to_keras_layer(node.layer)
            arguments, settings = _filled_in(node, known)
            answers = layers[id(node.layer)](*arguments, **settings)
            for tensor, answer in zip(_flat(node.outputs), _flat(answers), strict=True):
                known[id(tensor)] = answer
    rebuilt = keras.Model(packed(inputs), packed([known[id(tensor)] for tensor in model.outputs]), name=model.name)
    for layer in model.layers:
        if id(layer) in layers and not isinstance(layer, (tf_keras.Model, operation_class())):
            _copy_weights(layer, layers[id(layer)])
    return rebuilt


def known_activations() -> Any:
    """A context in which tf_keras can make layers of a bridged model anew: it knows the activations of Keras 3 by their names."""
    functions = {name: function for name, function in vars(keras.activations).items() if callable(function) and not name.startswith("_")}
    return tf_keras.utils.custom_object_scope({name: functions[name] for name in functions if name in DIFFERENT or not hasattr(
        tf_keras.activations, name)})


def copy_by_name(source: Any, target: Any) -> None:
    """Gives the layers of a model the weights of their namesakes in another, of either library. Raises BridgeError."""
    held = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.weights:
            if layer.name not in held:
                raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has no namesake in {source.name}")
            _copy_weights(held[layer.name], layer)


def keras_graph(model: Any) -> Any:
    """The functional model that a functional or Sequential one is. Raises BridgeError for others."""
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if not isinstance(graph, keras.src.models.functional.Functional):
        raise _no_graph(model)
    return graph


def _no_graph(model: Any) -> BridgeError:
    return BridgeError(f"{model.name} ({type(model).__name__}) is no functional or Sequential model with known shapes; rebuild it as one")


def _with_a_rule(layer: Any) -> str:
    """What to do about a layer that does not cross."""
    return f'register a replacement for it with export.keras_models.bridge.crosses_as("{type(layer).__name__}")'


def _to_tf_keras_layer(operation: Any, operation_kind: type) -> Any:
    kind = type(operation).__name__
    if kind in _own_rules:
        return _own_rules[kind](operation)
    if isinstance(operation, keras.Model):
        return to_tf_keras(operation, operation_kind)
    if not isinstance(operation, keras.layers.Layer):
        return _bound(operation, operation_kind)
    return _namesake(operation, tf_keras.layers, "tf_keras")


def _to_keras_layer(layer: Any) -> Any:
    kind = type(layer).__name__
    if kind in _own_rules:
        return _own_rules[kind](layer)
    if isinstance(layer, tf_keras.Model):
        return to_keras(layer)
    if isinstance(layer, operation_class()):
        return lambda tensors: _played(layer, tensors)
    return _namesake(layer, keras.layers, "keras")


def _played(layer: Any, tensors: Any) -> Any:
    """What a `keras.ops` node makes of tensors of Keras 3."""
    arguments, settings = layer.arguments(tensors)
    return layer.operation(*arguments, **settings)


def _namesake(layer: Any, library: Any, name: str) -> Any:
    """The layer of the same class in the other library, with the same configuration as far as that library knows it."""
    kind = getattr(library, type(layer).__name__, None)
    if kind is None:
        raise BridgeError(f"layer {layer.name} is a {type(layer).__name__}, which {name} does not have: {_with_a_rule(layer)}")
    known, held = _settings(kind), _held(layer, library, name)
    config: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        key, value = RENAMED.get((type(layer).__name__, key), key), _plain(value)
        if key in DROPPED or key.endswith(("initializer", "constraint")) or (held and key in ("layer", "backward_layer", "cell")):
            continue
        if key in known:
            config[key] = value
        elif value and value != _settings(type(layer)).get(key) and (key, value) != ("data_format", "channels_last"):
            raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has {key} = {value}, which {name} cannot do: leave it out, or "
                              f"{_with_a_rule(layer)}")
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    for key in ("activation", "recurrent_activation"):
        if key in config:
            config[key] = _activation(layer, key, name)
    if name == "tf_keras" and type(layer).__name__ == "BatchNormalization":
        config["fused"] = False  # the fused kernel estimates the moving variance without bias, Keras 3 with
    # tf_keras' attention asks from_config for shapes; without them it is built when it is called, as every other layer
    rebuilt = kind(**config, **held) if held or type(layer).__name__ == "MultiHeadAttention" else kind.from_config(config)
    rebuilt.trainable = layer.trainable
    return rebuilt


def _held(layer: Any, library: Any, name: str) -> dict[str, Any]:
    """The layers that a layer holds, as arguments of its class in the other library."""
    if type(layer).__name__ not in HOLDERS:
        return {}
    attribute, argument = HOLDERS[type(layer).__name__]
    inner = getattr(layer, attribute)
    if argument == "cell" and hasattr(inner, "cells"):
        return {argument: [_namesake(cell, library, name) for cell in inner.cells]}
    rebuilt = _namesake(inner, library, name)
    if attribute == "forward_layer":  # which both libraries name so, each time anew
        if type(layer.backward_layer) is not type(inner):
            raise BridgeError(f"layer {layer.name} (Bidirectional) goes backwards with another layer than forwards: {_with_a_rule(layer)}")
        rebuilt = type(rebuilt).from_config({**rebuilt.get_config(), "name": inner.name.removeprefix("forward_")})
    return {argument: rebuilt}


def _settings(kind: type) -> dict[str, Any]:
    """What a layer class can be told, with the defaults."""
    known: dict[str, Any] = {"name": None, "trainable": True}
    for base in reversed(kind.__mro__):
        known |= {name: parameter.default for name, parameter in inspect.signature(vars(base).get("__init__", base)).parameters.items()}
    if issubclass(kind, (keras.layers.RNN, tf_keras.layers.RNN)):
        known["zero_output_for_mask"] = False  # which both take among the unnamed
    return known


def _activation(layer: Any, which: str, name: str) -> Any:
    """An activation of a layer for the other library: by name where both mean the same, else Keras 3's own function."""
    function = getattr(layer, which)
    word = getattr(function, "__name__", type(function).__name__)
    if name == "tf_keras":
        return word if hasattr(tf_keras.activations, word) and word not in DIFFERENT else function
    if word in DIFFERENT and function is getattr(tf_keras.activations, word):
        raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has the activation {word} of tf_keras, which is another function "
                          f"in Keras 3: {_with_a_rule(layer)}")
    return word if getattr(keras.activations, word, None) is not None else function


def _plain(value: Any) -> Any:
    """A serialized object in the form that both libraries read: a class name and a configuration."""
    if isinstance(value, dict) and "class_name" in value:
        return {"class_name": value["class_name"], "config": _plain(value["config"])}
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _copy_weights(source: Any, target: Any) -> None:
    weights = source.get_weights()
    shapes, wanted = [weight.shape for weight in weights], [tuple(weight.shape) for weight in target.weights]
    if shapes != wanted:
        raise BridgeError(f"layer {source.name} ({type(source).__name__}) has weights {shapes}, its replacement {wanted}: "
                          f"{_with_a_rule(source)}")
    target.set_weights(weights)
    if type(target).__name__ == "Normalization" and weights:
        target.finalize_state()


@functools.cache
def operation_class() -> type:
    """The tf_keras layer that stands for a call of a `keras.ops` node: a layer of the tensors alone, which holds the other arguments, so
    that models with it can be cloned. VariantRecord once, on demand."""
    @tf_keras.utils.register_keras_serializable("litepress")
    class KerasOperation(tf_keras.layers.Layer):
        def __init__(self, operation: Any, template: Any, **settings: Any):
            super().__init__(**settings)
            self.operation = keras.saving.deserialize_keras_object(operation) if isinstance(operation, dict) else operation
            self.template = template

        def arguments(self, tensors: Any) -> tuple[list[Any], dict[str, Any]]:
            """The arguments of the call, with these tensors in their places."""
            given = tensors if isinstance(tensors, (list, tuple)) else [tensors]
            return _filled(keras.saving.deserialize_keras_object(self.template), given)

        def call(self, tensors: Any) -> Any:
            arguments, settings = self.arguments(tensors)
            return self.operation.call(*arguments, **settings)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "operation": keras.saving.serialize_keras_object(self.operation), "template": self.template}

    return KerasOperation


def _bound(operation: Any, kind: type) -> Any:
    """A call of a `keras.ops` node that becomes a layer of its tensors."""
    def call(*arguments: Any, **settings: Any) -> Any:
        tensors: list[Any] = []

        def place(value: Any) -> Any:
            if type(value).__name__ != "KerasTensor":
                return value
            tensors.append(value)
            return {PLACE: len(tensors) - 1}

        template = tf.nest.map_structure(place, (list(arguments), settings))
        layer = kind(operation, keras.saving.serialize_keras_object(template), name=operation.name)
        return layer(tensors if len(tensors) > 1 else tensors[0])

    return call


def on_tensors(operation: Any, kind: type, name: str, count: int = 1) -> Any:
    """The layer that stands for a `keras.ops` node of one tensor, or of one list of several, and nothing else."""
    given: Any = {PLACE: 0} if count == 1 else [{PLACE: place} for place in range(count)]
    return kind(operation, keras.saving.serialize_keras_object(([given], {})), name=name)


def _filled(value: Any, tensors: Sequence[Any]) -> Any:
    """A template of arguments with the tensors in their places."""
    if isinstance(value, dict) and set(value) == {PLACE}:
        return tensors[value[PLACE]]
    if isinstance(value, dict):
        return {key: _filled(entry, tensors) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(entry, tensors) for entry in value)
    return value


def _filled_in(node: Any, known: dict[int, Any]) -> tuple[Any, Any]:
    """The arguments of a tf_keras node, with the tensors of the Keras model in place of its own."""
    settings = {key: value for key, value in node.call_kwargs.items() if key != "training"}
    arguments, settings = tf.nest.map_structure(lambda value: known.get(id(value), value), (node.call_args, settings))
    if isinstance(node.layer, (tf_keras.layers.RNN, tf_keras.layers.Bidirectional)) and isinstance(arguments[0], (list, tuple)):
        (first, *states), *others = arguments  # tf_keras hands an initial state on as further inputs
        arguments, settings = (first, *others), {**settings, "initial_state": list(states)}
    return arguments, settings


def _flat(values: Any) -> list[Any]:
    return keras.tree.flatten(values)


def packed(values: list[Any]) -> Any:
    """A list of one as that one, as Keras takes inputs and outputs."""
    return values[0] if len(values) == 1 else values
