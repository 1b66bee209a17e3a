"""Calls of `keras.ops`, and layers without weights that tf_keras does not have, as layers of tf_keras: what crosses the
bridge as it is."""
from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    import tf_keras

#: Marks, in the arguments of an operation, where a tensor goes: {TENSOR: its number}.
TENSOR = "tensor"


@functools.cache
def operation_class() -> type:
    """Return the tf_keras layer that stands for a call of a `keras.ops` node or of a layer without weights, made once,
    on demand.

    It is a layer of the tensors alone and holds the other arguments, so that models with it can be cloned.
    """
    @tf_keras.utils.register_keras_serializable("litepress")
    class KerasOperation(tf_keras.layers.Layer):
        def __init__(self, operation: Any, template: Any, **settings: Any):
            super().__init__(**settings)
            is_config = isinstance(operation, dict)
            self.operation = keras.saving.deserialize_keras_object(operation) if is_config else operation
            self.template = template

        def arguments(self, tensors: Any) -> tuple[list[Any], dict[str, Any]]:
            """Return the arguments of the call, with these tensors in their places."""
            values = tensors if isinstance(tensors, (list, tuple)) else [tensors]
            return filled(keras.saving.deserialize_keras_object(self.template), values)

        def call(self, tensors: Any, training: Any = None) -> Any:
            arguments, settings = self.arguments(tensors)
            if "training" in inspect.signature(self.operation.call).parameters:
                # an augmentation, which does nothing to whoever only asks
                settings["training"] = isinstance(training, (bool, int)) and bool(training)
            return self.operation.call(*arguments, **settings)

        def get_config(self) -> dict[str, Any]:
            operation = keras.saving.serialize_keras_object(self.operation)
            return {**super().get_config(), "operation": operation, "template": self.template}

    return KerasOperation


def bound(operation: Any, kind: type) -> Any:
    """Return a function that makes a layer of a `keras.ops` node, or of a layer without weights, when it is called, and
    calls it with the tensors.

    Args:
        kind: `operation_class()` or a class derived from it.
    """
    def call(*arguments: Any, **settings: Any) -> Any:
        tensors: list[Any] = []

        def replaced(value: Any) -> Any:
            if type(value).__name__ != "KerasTensor":
                return value
            tensors.append(value)
            return {TENSOR: len(tensors) - 1}

        template = tf.nest.map_structure(replaced, (list(arguments), settings))
        layer = kind(operation, keras.saving.serialize_keras_object(template), name=operation.name)
        return layer(tensors if len(tensors) > 1 else tensors[0])

    return call


def on_tensors(operation: Any, kind: type, name: str, count: int = 1) -> Any:
    """Return the layer that stands for a `keras.ops` node of one tensor, or of one list of `count`, and nothing
    else."""
    argument: Any = {TENSOR: 0} if count == 1 else [{TENSOR: number} for number in range(count)]
    return kind(operation, keras.saving.serialize_keras_object(([argument], {})), name=name)


def filled(value: Any, tensors: Sequence[Any]) -> Any:
    """Return a template of arguments with the tensors in their places."""
    if isinstance(value, dict) and set(value) == {TENSOR}:
        return tensors[value[TENSOR]]
    if isinstance(value, dict):
        return {key: filled(entry, tensors) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(filled(entry, tensors) for entry in value)
    return value
