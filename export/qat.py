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

from export import bridge, graph
from export.litert import INPUT, OUTPUT, SIGNATURE

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tf_keras

#: Layers whose output is that of their input with the same range: a rule of their own would only round once more.
TRANSPARENT = ("Dropout", "SpatialDropout2D", "Flatten", "Reshape", "Permute", "ZeroPadding2D", "MaxPooling2D", "InputLayer")


#: Operations of keras.ops that move values and make no new ones.
MOVING = ("GetItem", "Pad", "Reshape", "Transpose", "Repeat", "ExpandDims", "Squeeze", "ZerosLike", "Cast")


#: Where a tensor goes in the arguments of an operation.
PLACE = "tensor"


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
    carried = bridge.to_tf_keras(model, _bound)
    registry = _registry()
    follows = _convolutions_before(carried)

    def annotated(layer: Any) -> Any:
        if layer.name in keep_float or isinstance(layer, (tf_keras.layers.InputLayer, tf_keras.Model)):
            return layer
        if isinstance(layer, tf_keras.layers.BatchNormalization) and layer.name in follows:
            return quantize.quantize_annotate_layer(layer)  # folded into the convolution before it
        if isinstance(layer, _bound_operation()):
            return layer
        if isinstance(layer, tf_keras.layers.Activation) and getattr(layer.activation, "__module__", "").startswith("keras."):
            operation = getattr(keras.ops, layer.activation.__name__)(keras.KerasTensor(layer.input.shape))._keras_history.operation
            return _bound_operation()(operation, keras.saving.serialize_keras_object(([{PLACE: 0}], {})), name=layer.name)
        if registry.supports(layer) and not isinstance(layer, tf_keras.layers.BatchNormalization) and _knows_activation(layer):
            return quantize.quantize_annotate_layer(layer)
        if type(layer).__name__ not in (*TRANSPARENT, "MultiHeadAttention"):
            return quantize.quantize_annotate_layer(layer, _output_only()())
        return layer

    with quantize.quantize_scope({"OutputOnly": _output_only(), "BoundOperation": _bound_operation()}):
        marked = tf_keras.models.clone_model(carried, clone_function=annotated)
        return quantize.quantize_apply(marked, _scheme(preserve))


def float_graph(model: Any, folder: Any) -> None:
    """Writes the graph that the integer file is converted from, as `export.litert.float_graph` does for Keras 3 models."""
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

    if preserve == "sparsity":
        return zeros.Default8BitPrunePreserveQuantizeScheme()
    if preserve:
        return clusters.Default8BitClusterPreserveQuantizeScheme(preserve == "both")
    return plain.Default8BitQuantizeScheme()


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


def _bound(operation: Any) -> Any:
    """A call of a `keras.ops` node that becomes a layer of its tensors alone, as tfmot, which rebuilds models, needs it."""
    def call(*arguments: Any, **settings: Any) -> Any:
        given, tensors = (list(arguments), settings), []

        def place(value: Any) -> Any:
            if type(value).__name__ != "KerasTensor":
                return value
            tensors.append(value)
            return {PLACE: len(tensors) - 1}

        template = tf.nest.map_structure(place, given)
        layer = _bound_operation()(operation, keras.saving.serialize_keras_object(template), name=operation.name)
        return layer(tensors if len(tensors) > 1 else tensors[0])

    return call


@functools.cache
def _bound_operation() -> type:
    """A `keras.ops` node with its constants, which rounds what it gives where that is new, with a range that it learns."""
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers

    class BoundOperation(tf_keras.layers.Layer):
        def __init__(self, operation: Any, template: Any, **settings: Any):
            super().__init__(**settings)
            self.operation = keras.saving.deserialize_keras_object(operation) if isinstance(operation, dict) else operation
            self.template = template
            self.rounds = type(self.operation).__name__ not in MOVING

        def build(self, shapes: Any) -> None:
            if self.rounds:
                self.quantizer = quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
                self.ranges = self.quantizer.build(None, "output", self)
            super().build(shapes)

        def call(self, tensors: Any, training: Any = None) -> Any:
            given = tensors if isinstance(tensors, (list, tuple)) else [tensors]
            arguments, settings = _filled(keras.saving.deserialize_keras_object(self.template), given)
            result = self.operation.call(*arguments, **settings)
            if not self.rounds or not result.dtype.is_floating:
                return result
            training = tf_keras.backend.learning_phase() if training is None else training
            return self.quantizer(result, training, weights=self.ranges)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "operation": keras.saving.serialize_keras_object(self.operation), "template": self.template}

    return BoundOperation


def _filled(value: Any, tensors: Sequence[Any]) -> Any:
    """A template of arguments with the tensors in their places."""
    if isinstance(value, dict) and set(value) == {PLACE}:
        return tensors[value[PLACE]]
    if isinstance(value, dict):
        return {key: _filled(entry, tensors) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(entry, tensors) for entry in value)
    return value


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
