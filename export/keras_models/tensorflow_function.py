"""Functions of TensorFlow between the layers of a Keras 2 model, as layers of Keras 3.

Keras 2 records `x / 127.5` or `tf.nn.relu6(x)` between its layers as TFOpLambda; what `preprocess_input` and the hard
swish of MobileNetV3 are made of.
"""
from __future__ import annotations

import functools
from typing import Any

from etils import epy

from export.keras_models.operations import TENSOR, filled

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    from tensorflow.python.util import tf_export

#: What Keras 2 calls such layers; all but the first have a function of their own.
KINDS = ("TFOpLambda", "SlicingOpLambda")


@functools.cache
def function_class() -> type:
    """Return the Keras 3 layer that calls a function of TensorFlow, made once, on demand: once it is, files with it can
    be loaded.

    It is a layer of the tensors alone, and holds the function's public name and its other arguments.
    """
    @keras.saving.register_keras_serializable("litepress")
    class TensorFlowFunction(keras.layers.Layer):
        def __init__(self, symbol: str, template: Any, **settings: Any):
            super().__init__(**settings)
            self.symbol, self.template = symbol, template
            self.built = True

        def played(self, tensors: Any) -> Any:
            """Return what the function makes of tensors, of Keras 2 too."""
            values = tensors if isinstance(tensors, (list, tuple)) else [tensors]
            arguments, settings = filled(keras.saving.deserialize_keras_object(self.template), values)
            return tf_export.get_symbol_from_name(self.symbol)(*arguments, **settings)

        def call(self, tensors: Any) -> Any:
            return self.played(tensors)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "symbol": self.symbol, "template": self.template}

    return TensorFlowFunction


def in_keras(layer: Any, name: str) -> Any:
    """Return a function that makes a layer of Keras 3 of a TFOpLambda when it is called, and calls it with the tensors.

    Args:
        layer: of tf_keras, of one of `KINDS`.
        name: of the layer; further calls of the same one have a number behind it.
    """
    def call(*arguments: Any, **settings: Any) -> Any:
        tensors: list[Any] = []

        def replaced(value: Any) -> Any:
            if isinstance(value, keras.KerasTensor):
                tensors.append(value)
                return {TENSOR: len(tensors) - 1}
            return value.numpy() if isinstance(value, (tf.Tensor, tf.Variable)) else value

        settings = {key: value for key, value in settings.items() if key != "name"}
        template = tf.nest.map_structure(replaced, (_with_slices(list(arguments)), _with_slices(settings)))
        made = function_class()(layer.symbol, keras.saving.serialize_keras_object(template), name=name)
        return made(tensors if len(tensors) > 1 else tensors[0])

    return call


def _with_slices(value: Any) -> Any:
    """Return arguments with slices where Keras 2 wrote down their beginning, end and step."""
    if isinstance(value, dict):
        if set(value) == {"start", "stop", "step"}:
            return slice(value["start"], value["stop"], value["step"])
        return {key: _with_slices(entry) for key, entry in value.items()}
    return type(value)(_with_slices(entry) for entry in value) if isinstance(value, (list, tuple)) else value
