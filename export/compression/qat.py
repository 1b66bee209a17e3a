"""Quantization-aware training: a Keras 3 model that learns with the rounding of its integer form (Jacob et al. 2018).

tfmot knows neither Keras 3 nor a good many layers, so the model crosses the bridge to tf_keras, and what tfmot has no rule for gets one
here: a layer without a rule of its own keeps its weights in float while it learns, and has its output quantized, which gives the
converter the range that it needs.
"""
from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Sequence
from typing import Any

from etils import epy

from export.conversion.convert import INPUT, OUTPUT, SIGNATURE
from export.keras_models import bridge, graph

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tf_keras

#: Layers whose output is that of their input with the same range: a rule of their own would only round once more.
TRANSPARENT = ("Dropout", "SpatialDropout2D", "Flatten", "Reshape", "Permute", "ZeroPadding2D", "MaxPooling2D", "InputLayer")


#: Operations of keras.ops that move values and make no new ones.
MOVING = ("GetItem", "Pad", "Reshape", "Transpose", "Repeat", "ExpandDims", "Squeeze", "ZerosLike", "Cast", "Split")


#: What the training can keep of the weights' form, and the scheme of tfmot that does.
PRESERVED = ("", "sparsity", "clusters", "both")


def kept(model: keras.Model, only: Collection[str], keep_float: Collection[str]) -> list[str]:
    """The names of the layers that stay float: all but `only`, where it names any, and those of `keep_float`.

    Raises ValueError where the model has no such layer.
    """
    names = [layer.name for layer in model.layers]
    if strange := [name for name in (*only, *keep_float) if name not in names]:
        near = difflib.get_close_matches(strange[0], names, n=1)
        raise ValueError(f"the model has no layer {strange[0]}." + (f" Did you mean {near[0]}?" if near else ""))
    return [name for name in names if name in keep_float or (only and name not in only)]


def prepare(model: keras.Model, keep_float: Collection[str] = (), preserve: str = "") -> Any:
    """The tf_keras model that learns with the rounding of its integer form.

    Args:
        model: trained; its weights are where the training goes on from.
        keep_float: names of layers that get no rounding.
        preserve: what the training keeps of the weights: zeros (sparsity), shared values (clusters), or both.

    Returns:
        A tf_keras model from raw pixels (batch, height, width, channels) to logits, not compiled.

    Raises:
        BridgeError: a layer cannot cross to tf_keras.
        ValueError: tfmot cannot take the model.
    """
    quantize = _tfmot()
    carried = bridge.to_tf_keras(_with_activations_apart(model), _rounding_operation())
    registry = _registry()
    follows = _convolutions_before(carried)

    def annotated(layer: Any) -> Any:
        if layer.name in keep_float or isinstance(layer, (tf_keras.layers.InputLayer, tf_keras.Model)):
            return layer
        if layer.name in apart:
            inputs = [keras.KerasTensor(tensor.shape) for tensor in layer.input]
            operation = keras.ops.concatenate(inputs, axis=layer.axis)._keras_history.operation
            return bridge.on_tensors(operation, _rounding_operation(), layer.name, len(inputs))
        if isinstance(layer, tf_keras.layers.AveragePooling2D) or _gathers_one(layer):
            return quantize.quantize_annotate_layer(layer, _same_scale()())
        if isinstance(layer, tf_keras.layers.BatchNormalization) and layer.name in follows:
            return quantize.quantize_annotate_layer(layer)  # folded into the convolution before it
        if isinstance(layer, _rounding_operation()):
            return layer
        if isinstance(layer, tf_keras.layers.Activation) and getattr(layer.activation, "__module__", "").startswith("keras."):
            operation = getattr(keras.ops, layer.activation.__name__)(keras.KerasTensor(layer.input.shape))._keras_history.operation
            return bridge.on_tensors(operation, _rounding_operation(), layer.name)
        if registry.supports(layer) and not isinstance(layer, tf_keras.layers.BatchNormalization) and _knows_activation(layer):
            return quantize.quantize_annotate_layer(layer)
        if type(layer).__name__ not in (*TRANSPARENT, "MultiHeadAttention"):
            return quantize.quantize_annotate_layer(layer, _output_only()())
        return layer

    def applied() -> Any:
        with bridge.known_activations(), quantize.quantize_scope({
                "OutputOnly": _output_only(), "SameScale": _same_scale(), "RoundingOperation": _rounding_operation()}):
            return quantize.quantize_apply(tf_keras.models.clone_model(carried, clone_function=annotated), _scheme(preserve))

    apart: set[str] = set()  # concatenations that tfmot must not see
    aware = applied()
    if wrong := _reordered(carried, aware):
        apart |= wrong
        aware = applied()
    return aware


def _reordered(carried: Any, aware: Any) -> set[str]:
    """The concatenations whose inputs tfmot has put into another order, as it does where convolutions and poolings meet in one."""
    held = {layer.name.removeprefix("quant_"): layer for layer in aware.layers}
    return {layer.name for layer in carried.layers
            if isinstance(layer, tf_keras.layers.Concatenate) and _sources(layer) != _sources(held[layer.name])}


def _sources(layer: Any) -> list[str]:
    """The layers that a layer of several inputs sees, in order."""
    return [tensor.node.layer.name.removeprefix("quant_") for tensor in layer.input]


def _gathers_one(layer: Any) -> bool:
    """Whether a concatenation only puts pieces of one tensor together: its integer form has that tensor's scale."""
    if not isinstance(layer, tf_keras.layers.Concatenate):
        return False
    sources, waiting = set(), list(layer.input)
    while waiting:
        maker: Any = waiting.pop().node.layer
        if getattr(maker, "rounds", True):
            sources.add(maker.name)
        else:
            waiting += tf.nest.flatten(maker.input)
    return len(sources) == 1


def _with_activations_apart(model: keras.Model) -> keras.Model:
    """The same model; a layer with weights that ends in an activation which tfmot does not know becomes two, so that its weights round."""
    @functools.cache
    def apart(operation: Any) -> Any:
        if not isinstance(operation, (keras.layers.Conv2D, keras.layers.Dense)) or _knows_activation(operation):
            return operation
        linear = type(operation).from_config({**operation.get_config(), "activation": "linear"})
        linear.build(operation.input.shape)
        linear.set_weights(operation.get_weights())
        activation = keras.layers.Activation(operation.activation, name=f"{operation.name}_activation")
        return lambda x, **settings: activation(linear(x))

    graph = bridge.keras_graph(model)
    if all(apart(operation) is operation for operation in graph.operations):
        return model
    inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name) for tensor in graph.inputs]
    outputs = graph._run_through_graph(bridge.packed(inputs), operation_fn=apart)
    return keras.Model(bridge.packed(inputs), outputs, name=model.name)


def float_graph(model: Any, folder: Any) -> None:
    """Writes the graph that the integer file is converted from, as `export.conversion.convert.float_graph` does for Keras 3 models."""
    specification = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, INPUT)
    graph.write(model, folder, {SIGNATURE: (lambda image: {OUTPUT: model(image, training=False)}, [specification])})


def _tfmot() -> Any:
    from tensorflow_model_optimization.python.core.quantization.keras import quantize

    return quantize


def _scheme(preserve: str) -> Any:
    """tfmot's scheme of 8-bit quantization that keeps what is asked for."""
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        default_8bit_cluster_preserve_quantize_scheme as clusters,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
        default_8bit_prune_preserve_quantize_scheme as zeros,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_scheme as plain

    scheme = (zeros.Default8BitPrunePreserveQuantizeScheme() if preserve == "sparsity" else
              clusters.Default8BitClusterPreserveQuantizeScheme(preserve == "both") if preserve else plain.Default8BitQuantizeScheme())
    # the schemes that keep something say that they support every layer without weights, and then fail on those that they do not know
    return _with_honest_registry(scheme) if preserve else scheme


def _with_honest_registry(scheme: Any) -> Any:
    registry, supports = scheme.get_quantize_registry(), _registry().supports

    class Honest(type(registry)):  # type: ignore[misc]
        def supports(self, layer: Any) -> bool:  # type: ignore[override]
            return supports(layer) and super().supports(layer)

    registry.__class__ = Honest
    scheme.get_quantize_registry = lambda: registry
    return scheme


@functools.cache
def _registry() -> Any:
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_registry

    return default_8bit_quantize_registry.Default8BitQuantizeRegistry()


@functools.cache
def _output_only() -> type:
    """The rule for layers that tfmot has none for: the output is quantized, the weights are not."""
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_config, quantizers

    class OutputOnly(quantize_config.QuantizeConfig):
        def get_weights_and_quantizers(self, layer: Any) -> list:
            return []

        def get_activations_and_quantizers(self, layer: Any) -> list:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: Sequence) -> None:
            """There are none."""

        def set_quantize_activations(self, layer: Any, quantize_activations: Sequence) -> None:
            """There are none."""

        def get_output_quantizers(self, layer: Any) -> list:
            return [quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

        def get_config(self) -> dict:
            return {}

    return OutputOnly


@functools.cache
def _same_scale() -> type:
    """The rule for layers whose integer operator gives what it gets in the same scale: a range of their own could not be written."""
    class SameScale(_output_only()):  # type: ignore[misc]
        def get_output_quantizers(self, layer: Any) -> list:
            return []

    return SameScale


@functools.cache
def _rounding_operation() -> type:
    """A `keras.ops` node which rounds what it gives where that is new, with a range that it learns."""
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers

    class RoundingOperation(bridge.operation_class()):  # type: ignore[misc]
        def __init__(self, operation: Any, template: Any, **settings: Any):
            super().__init__(operation, template, **settings)
            self.rounds = type(self.operation).__name__ not in MOVING

        def build(self, shapes: Any) -> None:
            if self.rounds:
                self.quantizer = quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
                self.ranges = self.quantizer.build(None, "output", self)
            super().build(shapes)

        def call(self, tensors: Any, training: Any = None) -> Any:
            result = super().call(tensors)
            if not self.rounds or not result.dtype.is_floating:
                return result
            training = tf_keras.backend.learning_phase() if training is None else training
            return self.quantizer(result, training, weights=self.ranges)

    return RoundingOperation


def _knows_activation(layer: Any) -> bool:
    """Whether tfmot can quantize the activation that a layer ends with."""
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", None)
    return activation is None or name in ("linear", "relu", "softmax", "swish", "sigmoid", "tanh")


def _convolutions_before(model: Any) -> set[str]:
    """The batch normalizations that follow a convolution or a dense layer and nothing else sees its output."""
    folded = set()
    for layer in model.layers:
        consumers = [node.layer for node in layer.outbound_nodes]
        if type(layer).__name__ in ("Conv2D", "DepthwiseConv2D", "Dense") and len(consumers) == 1 and isinstance(
                consumers[0], tf_keras.layers.BatchNormalization):
            folded.add(consumers[0].name)
    return folded
