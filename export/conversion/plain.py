"""Models in operations that TFLite has: layers that Keras computes in others are computed in those, to the same end."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.keras_models.namesakes import adds_bias_along_the_width
from export.keras_models.rebuild import is_graph, linear, operations, rewritten

with epy.lazy_imports():
    import keras


def plain(model: keras.Model) -> keras.Model:
    """Return the same model in operations that TFLite has; itself where it is so already.

    Layer normalization is without NEG, which has no integer kernel. Convolutions of sequences and of volumes have
    their channels last, with the data turned before and after: the converter turns those of images alone.
    """
    if not is_graph(model) or not any(_is_normalization(one) or _has_channels_first(one) for one in operations(model)):
        return model
    return rewritten(model, _replacement)


def _replacement(operation: Any) -> Any:
    if _is_normalization(operation):
        return _plain_normalization(operation)
    return _with_channels_last(operation) if _has_channels_first(operation) else operation


def _is_normalization(operation: Any) -> bool:
    return type(operation) is keras.layers.LayerNormalization and not operation.rms_scaling


def _plain_normalization(layer: Any) -> Any:
    class PlainNormalization(keras.layers.LayerNormalization):
        def call(self, inputs: Any) -> Any:
            axes = [axis % len(inputs.shape) for axis in ([self.axis] if isinstance(self.axis, int) else self.axis)]
            sizes = [size if axis in axes else 1 for axis, size in enumerate(inputs.shape)]

            def spread(weight: Any) -> Any:
                return weight if axes == [len(sizes) - 1] else keras.ops.reshape(weight, sizes)

            centred = inputs - keras.ops.mean(inputs, axis=self.axis, keepdims=True)
            variance = keras.ops.mean(centred * centred, axis=self.axis, keepdims=True)
            outputs = centred * keras.ops.rsqrt(variance + self.epsilon)
            return (outputs * spread(self.gamma) if self.scale else outputs) + (
                spread(self.beta) if self.center else 0)

    result = PlainNormalization.from_config(layer.get_config())
    result.build(layer.input.shape)
    result.set_weights(layer.get_weights())
    return result


def _has_channels_first(operation: Any) -> bool:
    layers = keras.layers
    kinds = (layers.Conv1D, layers.Conv1DTranspose, layers.DepthwiseConv1D, layers.SeparableConv1D, layers.Conv3D,
             layers.Conv3DTranspose)
    return isinstance(operation, kinds) and operation.data_format == "channels_first"


def _with_channels_last(layer: Any) -> Any:
    axes = len(layer.input.shape)
    to_last, to_first = [0, *range(2, axes), 1], [0, axes - 1, *range(1, axes - 1)]
    shape = [layer.input.shape[axis] for axis in to_last]
    turned = linear(layer, layer.name, shape, data_format="channels_last")
    without_bias = linear(layer, f"{layer.name}_alone", shape, data_format="channels_last", use_bias=False)

    def computed(inputs: Any) -> Any:
        given = keras.ops.transpose(inputs, to_last)
        outputs = keras.ops.transpose(turned(given), to_first)
        if adds_bias_along_the_width(layer, outputs.shape):
            outputs = keras.ops.transpose(without_bias(given), to_first) + keras.ops.convert_to_numpy(layer.bias)
        return layer.activation(outputs)

    return computed
