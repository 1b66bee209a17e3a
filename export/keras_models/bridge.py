"""The bridge: the exact rebuilding of a Keras 3 model in tf_keras, and back.

tf_keras is Keras 2, which the model optimization toolkit, multi-worker training and the fused integer kernels for
recurrent layers still need. A graph is played again, node by node, with each layer replaced by its namesake of the
other library: same configuration, same weights.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etils import epy

from export.keras_models import tensorflow_function
from export.keras_models.namesakes import BridgeError, adds_bias_along_the_width, keras_name, namesake, with_a_rule
from export.keras_models.operations import bound, operation_class

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tf_keras

#: Layers that Keras 2 alone has: from one to the function that it is when a model answers.
ONLY_KERAS_2: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "RandomHeight": lambda layer: _same, "RandomWidth": lambda layer: _same,
    "ThresholdedReLU": lambda layer: lambda x, **settings: keras.ops.threshold(x, float(layer.theta), 0.0)}
_custom_rules: dict[str, Callable[[Any], Any]] = {}


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
            for node in operation._inbound_nodes:
                _check_bias(operation, node.outputs[0])
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
            _check_bias(node.layer, outputs)
            for tensor, output in zip(keras.tree.flatten(node.outputs), keras.tree.flatten(outputs), strict=True):
                tensors[id(tensor)] = output
    inputs, outputs = (keras.tree.map_structure(lambda tensor: tensors[id(tensor)], structure)
                       for structure in (model._nested_inputs, model._nested_outputs))
    rebuilt = keras.Model(inputs, outputs, name=model.name)
    for layer in model.layers:
        if id(layer) in layers and hasattr(layers[id(layer)], "weights") and not isinstance(layer, tf_keras.Model):
            _copy_weights(layer, layers[id(layer)])
    return rebuilt


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


def _check_bias(layer: Any, output: Any) -> None:
    """Raise BridgeError where the two libraries add a layer's bias along different axes of its output."""
    shape: Any = getattr(output, "shape", ())
    if adds_bias_along_the_width(layer, shape):
        raise BridgeError(f"layer {layer.name} ({type(layer).__name__}) has its channels first and as many of them as "
                          f"its output is wide, {shape[1]}: Keras 3 adds the bias along the width there, tf_keras "
                          "along the channels. Make it with data_format=\"channels_last\"")


def _to_tf_keras_layer(operation: Any, operation_kind: type) -> Any:
    kind = type(operation).__name__
    if kind in _custom_rules:
        return _custom_rules[kind](operation)
    if isinstance(operation, keras.Model):
        return to_tf_keras(operation, operation_kind)
    if not isinstance(operation, keras.layers.Layer) or _crosses_as_it_is(operation):
        return bound(operation, operation_kind)
    return namesake(operation, tf_keras.layers, "tf_keras")


def _crosses_as_it_is(layer: Any) -> bool:
    """Return whether a layer of Keras 3 can be called by one of tf_keras: it has no weights, no state but a seed, and
    no namesake there; or it is one of ours, which have no weights."""
    if keras.saving.get_registered_name(type(layer)).startswith("litepress>"):
        return not layer.weights
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
    if kind in ONLY_KERAS_2:
        return ONLY_KERAS_2[kind](layer)
    if kind in tensorflow_function.KINDS:
        return tensorflow_function.in_keras(layer, keras_name(layer.name))
    return namesake(layer, keras.layers, "keras")


def _same(x: Any, **settings: Any) -> Any:
    return x


def _played(layer: Any, tensors: Any) -> Any:
    """Return what a `keras.ops` node makes of tensors of Keras 3."""
    arguments, settings = layer.arguments(tensors)
    return layer.operation(*arguments, **settings)


def _copy_weights(source: Any, target: Any) -> None:
    weights = source.get_weights()
    shapes = [weight.shape for weight in weights]
    expected = [tuple(weight.shape) for weight in target.weights]
    if shapes != expected:
        raise BridgeError(f"layer {source.name} ({type(source).__name__}) has weights {shapes}, its replacement "
                          f"{expected}: {with_a_rule(source)}")
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
