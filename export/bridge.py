"""The bridge: the exact rebuilding of a Keras 3 model in tf_keras, and back.

tf_keras is Keras 2, which the model optimization toolkit, multi-worker training and the fused integer kernels for recurrent layers
still need. A graph is played again, node by node, with each layer replaced by its namesake of the other library: same configuration,
same weights.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tf_keras

#: Settings that are no part of what a layer computes once its weights are set, or that the other library writes differently.
DROPPED = ("dtype", "build_config", "batch_input_shape", "batch_shape", "quantization_config", "shared_object_id",
           "query_shape", "key_shape", "value_shape", "softmax_robust_masking")
#: Settings that the other library calls by another name: (class, its name) to the other's, in both directions.
RENAMED = {("LeakyReLU", "negative_slope"): "alpha", ("LeakyReLU", "alpha"): "negative_slope"}
#: Activations of one name that are two functions: x / 6 + 1 / 2 in Keras 3, x / 5 + 1 / 2 in tf_keras.
DIFFERENT = {"hard_sigmoid"}
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


def to_tf_keras(model: keras.Model, operation_layer: Callable[[Any], Any] | None = None) -> tf_keras.Model:
    """The same model in tf_keras: names, weights, trainable flags, regularizers and moving statistics.

    Args:
        model: functional or Sequential, built; nested models and shared layers included.
        operation_layer: gives what is called in place of a `keras.ops` node; by default a layer that runs it.

    Raises:
        BridgeError: a subclassed model, a layer that tf_keras does not have, or weights that do not fit.
    """
    graph = _keras_graph(model)
    layers: dict[int, Any] = {}

    def replaced(operation: Any) -> Any:
        if id(operation) not in layers:
            layers[id(operation)] = _to_tf_keras_layer(operation, operation_layer)
        return layers[id(operation)]

    inputs = [tf_keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name.split(":")[0]) for tensor in graph.inputs]
    outputs = graph._run_through_graph(_packed(inputs), operation_fn=replaced)
    rebuilt = tf_keras.Model(_packed(inputs), outputs, name=model.name)
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
    rebuilt = keras.Model(_packed(inputs), _packed([known[id(tensor)] for tensor in model.outputs]), name=model.name)
    for layer in model.layers:
        if id(layer) in layers and not isinstance(layer, (tf_keras.Model, _operation_class())):
            _copy_weights(layer, layers[id(layer)])
    return rebuilt


def copy_by_name(source: Any, target: Any) -> None:
    """Gives the layers of a model the weights of their namesakes in another, of either library. Raises BridgeError."""
    held = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.weights:
            if layer.name not in held:
                raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has no namesake in {source.name}")
            _copy_weights(held[layer.name], layer)


def _keras_graph(model: Any) -> Any:
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if not isinstance(graph, keras.src.models.functional.Functional):
        raise _no_graph(model)
    return graph


def _no_graph(model: Any) -> BridgeError:
    return BridgeError(f"{model.name} ({type(model).__name__}) is no functional or Sequential model with known shapes; rebuild it as one")


def _with_a_rule(layer: Any) -> str:
    """What to do about a layer that does not cross."""
    return f'register a replacement for it with export.bridge.crosses_as("{type(layer).__name__}")'


def _to_tf_keras_layer(operation: Any, operation_layer: Callable[[Any], Any] | None) -> Any:
    kind = type(operation).__name__
    if kind in _own_rules:
        return _own_rules[kind](operation)
    if isinstance(operation, keras.Model):
        return to_tf_keras(operation, operation_layer)
    if not isinstance(operation, keras.layers.Layer):
        return operation_layer(operation) if operation_layer else _operation_class()(operation, name=operation.name)
    return _namesake(operation, tf_keras.layers, "tf_keras")


def _to_keras_layer(layer: Any) -> Any:
    kind = type(layer).__name__
    if kind in _own_rules:
        return _own_rules[kind](layer)
    if isinstance(layer, tf_keras.Model):
        return to_keras(layer)
    if isinstance(layer, _operation_class()):
        return layer.operation  # type: ignore[attr-defined]
    return _namesake(layer, keras.layers, "keras")


def _namesake(layer: Any, library: Any, name: str) -> Any:
    """The layer of the same class in the other library, with the same configuration as far as that library knows it."""
    kind = getattr(library, type(layer).__name__, None)
    if kind is None:
        raise BridgeError(f"layer {layer.name} is a {type(layer).__name__}, which {name} does not have: {_with_a_rule(layer)}")
    known = _settings(kind)
    config = {}
    for key, value in layer.get_config().items():
        key, value = RENAMED.get((type(layer).__name__, key), key), _plain(value)
        if key in known:
            if key not in DROPPED and not key.endswith(("initializer", "constraint")):
                config[key] = value
        elif key not in DROPPED and value and value != _settings(type(layer)).get(key):
            raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has {key} = {value}, which {name} cannot do: leave it out, or "
                              f"{_with_a_rule(layer)}")
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    if "activation" in config:
        config["activation"] = _activation(layer, name)
    if name == "tf_keras" and type(layer).__name__ == "BatchNormalization":
        config["fused"] = False  # the fused kernel estimates the moving variance without bias, Keras 3 with
    # tf_keras' attention asks from_config for shapes; without them it is built when it is called, as every other layer
    rebuilt = kind(**config) if type(layer).__name__ == "MultiHeadAttention" else kind.from_config(config)
    rebuilt.trainable = layer.trainable
    return rebuilt


def _settings(kind: type) -> dict[str, Any]:
    """What a layer class can be told, with the defaults."""
    known: dict[str, Any] = {"name": None, "trainable": True}
    for base in reversed(kind.__mro__):
        known |= {name: parameter.default for name, parameter in inspect.signature(vars(base).get("__init__", base)).parameters.items()}
    return known


def _activation(layer: Any, name: str) -> Any:
    """The layer's activation for the other library: by name where both mean the same, else Keras 3's own function."""
    function = layer.activation
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


def _operation_class() -> type:
    """The tf_keras layer that stands for a `keras.ops` node: it runs the very operation. Made once, on demand."""
    if "class" not in _operation_cache:
        @tf_keras.utils.register_keras_serializable("litepress")
        class KerasOperation(tf_keras.layers.Layer):
            def __init__(self, operation: Any, **settings: Any):
                super().__init__(**settings)
                self.operation = keras.saving.deserialize_keras_object(operation) if isinstance(operation, dict) else operation

            def call(self, *arguments: Any, **settings: Any) -> Any:
                settings.pop("training", None)
                return self.operation.call(*arguments, **settings)

            def get_config(self) -> dict[str, Any]:
                return {**super().get_config(), "operation": keras.saving.serialize_keras_object(self.operation)}

        _operation_cache["class"] = KerasOperation
    return _operation_cache["class"]


_operation_cache: dict[str, type] = {}


def _filled_in(node: Any, known: dict[int, Any]) -> tuple[Any, Any]:
    """The arguments of a tf_keras node, with the tensors of the Keras model in place of its own."""
    settings = {key: value for key, value in node.call_kwargs.items() if key != "training"}
    return tf.nest.map_structure(lambda value: known.get(id(value), value), (node.call_args, settings))


def _flat(values: Any) -> list[Any]:
    return keras.tree.flatten(values)


def _packed(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
