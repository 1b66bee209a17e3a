"""How layers round while they learn: tfmot's rules, and rules for what it has none for."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from etils import epy

from export.keras_models import operations

with epy.lazy_imports():
    import tf_keras

#: Operations of keras.ops that move values and make no new ones.
MOVING = ("GetItem", "Pad", "Reshape", "Transpose", "Repeat", "ExpandDims", "Squeeze", "ZerosLike", "Cast", "Split")
#: Activations that tfmot can quantize.
ACTIVATIONS = ("linear", "relu", "softmax", "swish", "sigmoid", "tanh")


def scheme(preserve: str) -> Any:
    """Return tfmot's scheme of 8-bit quantization that keeps what is asked for: one of
    `export.compression.qat.PRESERVED`."""
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        default_8bit_cluster_preserve_quantize_scheme as clusters,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
        default_8bit_prune_preserve_quantize_scheme as zeros,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme as plain,
    )

    if not preserve:
        return plain.Default8BitQuantizeScheme()
    if preserve == "sparsity":
        return _with_honest_registry(zeros.Default8BitPrunePreserveQuantizeScheme())
    return _with_honest_registry(clusters.Default8BitClusterPreserveQuantizeScheme(preserve == "both"))


def _with_honest_registry(chosen: Any) -> Any:
    """Return the scheme as it is, but for its claim to support every layer without weights: it fails on those that it
    does not know."""
    registry = chosen.get_quantize_registry()
    supports = default_registry().supports

    class Honest(type(registry)):  # type: ignore[misc]
        def supports(self, layer: Any) -> bool:  # type: ignore[override]
            return supports(layer) and super().supports(layer)

    registry.__class__ = Honest
    chosen.get_quantize_registry = lambda: registry
    return chosen


@functools.cache
def default_registry() -> Any:
    """Return tfmot's list of the layers that it has a rule for."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_registry

    return default_8bit_quantize_registry.Default8BitQuantizeRegistry()


def has_rule(layer: Any) -> bool:
    """Return whether tfmot can round a layer by itself. Its rule for a normalization that is not folded loses too
    much."""
    is_normalization = isinstance(layer, tf_keras.layers.BatchNormalization)
    return default_registry().supports(layer) and not is_normalization and knows_activation(layer)


def knows_activation(layer: Any) -> bool:
    """Return whether tfmot can quantize the activation that a layer ends with."""
    activation = getattr(layer, "activation", None)
    return activation is None or getattr(activation, "__name__", None) in ACTIVATIONS


@functools.cache
def output_only() -> type:
    """Return the rule for layers that tfmot has none for: the output is quantized, the weights are not."""
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_config

    class OutputOnly(quantize_config.QuantizeConfig):
        def get_weights_and_quantizers(self, layer: Any) -> list:
            return []

        def get_activations_and_quantizers(self, layer: Any) -> list:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: Sequence) -> None:
            """Set nothing: there are none."""

        def set_quantize_activations(self, layer: Any, quantize_activations: Sequence) -> None:
            """Set nothing: there are none."""

        def get_output_quantizers(self, layer: Any) -> list:
            return [_moving_average()]

        def get_config(self) -> dict:
            return {}

    return OutputOnly


@functools.cache
def same_scale() -> type:
    """Return the rule for layers whose integer operator gives what it gets in the same scale: a range of their own
    could not be written."""
    class SameScale(output_only()):  # type: ignore[misc]
        def get_output_quantizers(self, layer: Any) -> list:
            return []

    return SameScale


@functools.cache
def rounding_operation() -> type:
    """Return the layer of a `keras.ops` node which rounds what it gives where that is new, with a range that it
    learns."""
    class RoundingOperation(operations.operation_class()):  # type: ignore[misc]
        def __init__(self, operation: Any, template: Any, rounds: bool = True, **settings: Any):
            super().__init__(operation, template, **settings)
            self.rounds = rounds and type(self.operation).__name__ not in MOVING

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "rounds": self.rounds}

        def build(self, shapes: Any) -> None:
            if self.rounds:
                self.quantizer = _moving_average()
                self.ranges = self.quantizer.build(None, "output", self)
            super().build(shapes)

        def call(self, tensors: Any, training: Any = None) -> Any:
            result = super().call(tensors, training)
            if not self.rounds or not result.dtype.is_floating:
                return result
            training = tf_keras.backend.learning_phase() if training is None else training
            return self.quantizer(result, training, weights=self.ranges)

    return RoundingOperation


def _moving_average() -> Any:
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers

    return quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
