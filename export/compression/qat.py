"""Quantization-aware training: a Keras 3 model that learns with the rounding of its integer form (Jacob et al. 2018).

tfmot knows neither Keras 3 nor a good many layers, so the model crosses the bridge to tf_keras, and what tfmot has no
rule for gets one in `rounding`: a layer without a rule of its own keeps its weights in float while it learns, and has
its output quantized, which gives the converter the range that it needs.
"""
from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.compression import ends, rounding
from export.conversion import fused
from export.conversion.convert import Functions
from export.keras_models import bridge, graph, namesakes, operations, rebuild
from export.keras_models.rebuild import linear, rebuilt

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tf_keras

#: Layers whose output is that of their input with the same range: a rule of their own would only round once more.
TRANSPARENT = ("Dropout", "SpatialDropout2D", "Flatten", "Reshape", "Permute", "ZeroPadding2D", "MaxPooling2D",
               "InputLayer")
#: What the training can keep of the weights' form.
PRESERVED = ("", "sparsity", "clusters", "both")


def kept(model: keras.Model, only: Collection[str], keep_float: Collection[str]) -> list[str]:
    """Return the names of the layers that stay float: all but `only`, where it names any, and those of `keep_float`.

    Raises:
        ValueError: the model has no such layer.
    """
    names = [layer.name for layer in model.layers]
    if unknown := [name for name in (*only, *keep_float) if name not in names]:
        near = difflib.get_close_matches(unknown[0], names, n=1)
        raise ValueError(f"the model has no layer {unknown[0]}." + (f" Did you mean {near[0]}?" if near else ""))
    return [name for name in names if name in keep_float or (only and name not in only)]


def prepare(model: keras.Model, keep_float: Collection[str] = (), preserve: str = "", *,
            real_ends: bool = False) -> Any:
    """Return the tf_keras model that learns with the rounding of its integer form. Recurrent layers, those of models
    inside the model too, must be among `keep_float`.

    Args:
        model: trained; its weights are where the training goes on from.
        keep_float: names of layers that get no rounding.
        preserve: what the training keeps of the weights: zeros (sparsity), shared values (clusters), or both.
        real_ends: what comes before the first trained weights, and behind the last, does not round, and neither do the
            inputs: for models whose integer files take real numbers.

    Returns:
        A tf_keras model with the inputs and outputs of the given one, not compiled.

    Raises:
        BridgeError: a layer cannot cross to tf_keras.
        ValueError: tfmot cannot take the model.
    """
    real = [tensor.name for tensor in bridge.keras_graph(model).inputs if real_ends or not is_float(tensor)]
    model = _with_float_inputs(_flattened(model))
    carried = bridge.to_tf_keras(_with_activations_apart(model), rounding.rounding_operation())
    flat = _with_lists(carried)
    keep_float = {*keep_float, *(ends.without_weights(flat) if real_ends else ())}
    aware = _rounded(flat, keep_float, preserve, apart=())
    if reordered := _reordered(flat, aware):
        aware = _rounded(flat, keep_float, preserve, apart=reordered)
    return _structured_as(carried, ends.with_real_inputs(aware, real) if real else aware)


def is_float(tensor: Any) -> bool:
    """Return whether an input is of real numbers, which can round."""
    return str(tensor.dtype).startswith(("float", "bfloat"))


def recurrent(model: keras.Model) -> list[str]:
    """Return the names of a model's recurrent layers, those of models inside it too."""
    return [operation.name for operation in rebuild.operations(model) if fused.is_recurrent(operation)]


def taken_over(model: keras.Model, aware: Any) -> None:
    """Give a model the weights that its form with rounding has learnt, in place.

    Args:
        model: see `prepare`; its layers have names.
        aware: what `prepare` made of it.
    """
    learnt = {_inner(one).name: one for one in _leaves(aware)}
    for layer in rebuild.operations(model):
        if rebuild.is_graph(layer) or not getattr(layer, "weights", ()):
            continue
        if layer.name not in learnt:
            raise ValueError(f"layer {layer.name} ({type(layer).__name__}) has no counterpart among those that learnt "
                             "with rounding; use int8, or name the layer in keep_float")
        layer.set_weights(_weights(layer, learnt[layer.name]))


def _leaves(model: Any) -> Iterator[Any]:
    """Give the layers of a tf_keras model, those of models inside it in their place."""
    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _is_wrapped(layer: Any) -> bool:
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_wrapper

    return isinstance(layer, quantize_wrapper.QuantizeWrapper)


def _inner(layer: Any) -> Any:
    """Return the layer that rounds; Bidirectional, which wraps one as well, is itself."""
    return layer.layer if _is_wrapped(layer) else layer


def _weights(layer: Any, learnt: Any) -> list[Any]:
    """Return the weights of a layer's counterpart, in the layer's order.

    A wrapper puts rounded tensors in the place of some weights, which it keeps itself: these layers, dense ones and
    convolutions, are flat, so that a name is one weight's. All others still have their weights, in order.
    """
    inner = _inner(learnt)
    rounded = [variable for variable, *_ in learnt._weight_vars] if _is_wrapped(learnt) else []
    if not rounded:
        return inner.get_weights()
    every = list({id(variable): variable for variable in (*inner.weights, *rounded)}.values())
    names = [variable.name.split("/")[-1].split(":")[0] for variable in every]
    chosen = []
    for weight in layer.weights:  # tf_keras calls the kernel of a depthwise convolution depthwise_kernel
        fitting = [variable for variable, name in zip(every, names, strict=True)
                   if name == weight.name or name.endswith(f"_{weight.name}")]
        if len(fitting) != 1:
            raise ValueError(f"layer {layer.name} ({type(layer).__name__}) learnt {', '.join(names)} with rounding, of "
                             f"which {len(fitting)} are its {weight.name}; name the layer in keep_float")
        chosen.append(fitting[0].numpy())
    return chosen


def float_graph(aware: Any, functions: Functions, folder: Path) -> None:
    """Write the graph that the integer file is converted from, as `export.conversion.convert.float_graph` does for
    Keras 3 models."""
    graph.write(aware, folder, functions(aware), batch=1)


def _flattened(model: keras.Model) -> keras.Model:
    """Return a model whose inner models are taken apart where they have recurrent layers, which tfmot would refuse; it
    shares the layers."""
    if not any(fused.is_recurrent(one) for inner in bridge.keras_graph(model).operations if rebuild.is_graph(inner)
               for one in rebuild.operations(inner)):
        return model

    def inlined(operation: Any) -> Any:
        if not rebuild.is_graph(operation):
            return operation
        return lambda x, **settings: rebuild.replayed(operation, keras.tree.flatten(x), inlined)

    return rebuilt(model, inlined)


def _with_float_inputs(model: keras.Model) -> keras.Model:
    """Return a model that takes its whole numbers, such as tokens, as float32: tfmot rounds every input, and fails on
    others. It shares the layers."""
    whole = bridge.keras_graph(model)
    if all(map(is_float, whole.inputs)):
        return model
    inputs = [rebuild.fresh_input(tensor) if is_float(tensor) else
              keras.Input(batch_shape=tensor.shape, name=tensor.name, dtype="float32") for tensor in whole.inputs]
    seen = [given if is_float(tensor) else keras.ops.cast(given, tensor.dtype)
            for given, tensor in zip(inputs, whole.inputs, strict=True)]
    outputs = rebuild.replayed(model, seen, lambda operation: operation)
    return keras.Model(keras.tree.pack_sequence_as(whole.input, inputs), outputs, name=model.name)


def _with_activations_apart(model: keras.Model) -> keras.Model:
    """Return the same model; a layer with weights that ends in an activation which tfmot does not know becomes two,
    so that its weights round."""
    def is_unknown(operation: Any) -> bool:
        has_weights = isinstance(operation, (keras.layers.Conv2D, keras.layers.Dense))
        return has_weights and not rounding.knows_activation(operation)

    def apart(operation: Any) -> Any:
        if not is_unknown(operation):
            return operation
        weighted = linear(operation)
        activation = keras.layers.Activation(operation.activation, name=f"{operation.name}_activation")
        return lambda x, **settings: activation(weighted(x))

    return rebuilt(model, apart) if any(map(is_unknown, bridge.keras_graph(model).operations)) else model


def _with_lists(model: Any) -> Any:
    """Return a model whose inputs and outputs are lists or bare, in its order: tfmot does not take dicts."""
    if not isinstance(model.input, Mapping) and not isinstance(model.output, Mapping):
        return model
    return tf_keras.Model(model.inputs, model.outputs, name=model.name)


def _structured_as(model: Any, aware: Any) -> Any:
    """Return a model with the inputs and outputs that another has, by its names where it has them in dicts."""
    if not isinstance(model.input, Mapping) and not isinstance(model.output, Mapping):
        return aware
    inputs = tf.nest.pack_sequence_as(model.input, aware.inputs)
    outputs = tf.nest.pack_sequence_as(model.output, aware.outputs)
    return tf_keras.Model(inputs, outputs, name=aware.name)


def _rounded(carried: Any, keep_float: Collection[str], preserve: str, apart: Collection[str]) -> Any:
    """Return a tf_keras model with the rounding of each layer but those of `keep_float`.

    Args:
        apart: names of concatenations that tfmot must not see.
    """
    from tensorflow_model_optimization.python.core.quantization.keras import quantize

    scope = {"OutputOnly": rounding.output_only(), "SameScale": rounding.same_scale(),
             "RoundingOperation": rounding.rounding_operation()}
    mark = functools.partial(_annotated, keep_float=keep_float, folded=_folded_normalizations(carried), apart=apart)
    with namesakes.known_names(), quantize.quantize_scope(scope):
        marked = tf_keras.models.clone_model(carried, clone_function=mark)
        return quantize.quantize_apply(marked, rounding.scheme(preserve))


def _annotated(layer: Any, keep_float: Collection[str], folded: Collection[str], apart: Collection[str]) -> Any:
    """Return a layer as tfmot is to see it: with the rule by which it rounds, or as it is where it does not."""
    from tensorflow_model_optimization.python.core.quantization.keras import quantize

    operation: Any = rounding.rounding_operation()
    if layer.name in keep_float and isinstance(layer, operation):
        return operation.from_config({**layer.get_config(), "rounds": False})
    if layer.name in keep_float or isinstance(layer, (tf_keras.layers.InputLayer, tf_keras.Model)):
        return layer
    if layer.name in apart:
        inputs = [keras.KerasTensor(tensor.shape) for tensor in layer.input]
        return _as_operation(keras.ops.concatenate(inputs, axis=layer.axis), layer.name, len(inputs))
    if isinstance(layer, tf_keras.layers.AveragePooling2D) or _gathers_one(layer):
        return quantize.quantize_annotate_layer(layer, rounding.same_scale()())
    if layer.name in folded:
        return quantize.quantize_annotate_layer(layer)
    if isinstance(layer, rounding.rounding_operation()):
        return layer
    if isinstance(layer, tf_keras.layers.Activation) and _is_of_keras_3(layer.activation):
        activation = getattr(keras.ops, layer.activation.__name__)
        return _as_operation(activation(keras.KerasTensor(layer.input.shape)), layer.name)
    if rounding.has_rule(layer):
        return quantize.quantize_annotate_layer(layer)
    if type(layer).__name__ not in (*TRANSPARENT, "MultiHeadAttention"):
        return quantize.quantize_annotate_layer(layer, rounding.output_only()())
    return layer


def _is_of_keras_3(function: Any) -> bool:
    return getattr(function, "__module__", "").startswith("keras.")


def _as_operation(symbolic: Any, name: str, count: int = 1) -> Any:
    """Return the rounding layer of the `keras.ops` node that gave a symbolic tensor."""
    return operations.on_tensors(symbolic._keras_history.operation, rounding.rounding_operation(), name, count)


def _reordered(carried: Any, aware: Any) -> set[str]:
    """Return the concatenations whose inputs tfmot has put into another order, as it does where convolutions and
    poolings meet in one."""
    layers = {layer.name.removeprefix("quant_"): layer for layer in aware.layers}
    return {layer.name for layer in carried.layers
            if isinstance(layer, tf_keras.layers.Concatenate) and _sources(layer) != _sources(layers[layer.name])}


def _sources(layer: Any) -> list[str]:
    """Return the layers that a layer of several inputs sees, in order."""
    return [tensor.node.layer.name.removeprefix("quant_") for tensor in layer.input]


def _gathers_one(layer: Any) -> bool:
    """Return whether a concatenation only puts pieces of one tensor together: its integer form has that tensor's
    scale."""
    if not isinstance(layer, tf_keras.layers.Concatenate):
        return False
    sources = set()
    waiting = list(layer.input)
    while waiting:
        maker: Any = waiting.pop().node.layer
        if getattr(maker, "rounds", True):
            sources.add(maker.name)
        else:
            waiting += tf.nest.flatten(maker.input)
    return len(sources) == 1


def _folded_normalizations(model: Any) -> set[str]:
    """Return the batch normalizations that follow a convolution or a dense layer whose output nothing else sees: the
    converter folds them into it."""
    folded = set()
    for layer in model.layers:
        consumers = [node.layer for node in layer.outbound_nodes]
        is_linear = type(layer).__name__ in ("Conv2D", "DepthwiseConv2D", "Dense")
        if is_linear and len(consumers) == 1 and isinstance(consumers[0], tf_keras.layers.BatchNormalization):
            folded.add(consumers[0].name)
    return folded
