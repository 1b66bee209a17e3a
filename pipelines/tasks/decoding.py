"""Served functions that take files where the model takes what they hold."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function, Signature, Tensor

with epy.lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data


def decoding(function: Function, data: Data, encoded: Sequence[str]) -> Function:
    """Return the function that takes files where the given one takes what they hold: `<name>_bytes`, string
    (batch,)."""
    replaced = {tensor.name: Tensor(name=f"{tensor.name}_bytes", dtype="string", shape=(), role="text",
                                    meaning="encoded files")
                if tensor.name in encoded else tensor for tensor in function.signature.inputs}

    def call(**tensors: Any) -> dict[str, Any]:
        inputs = {}
        for tensor in function.signature.inputs:
            value = tensors[replaced[tensor.name].name]
            if tensor.name in encoded:
                feature, learnt = data.features[tensor.name], data.index.learnt[tensor.name]
                value = tf.map_fn(lambda one, feature=feature, learnt=learnt: feature.decode(one, learnt), value,
                                  fn_output_signature=tf.TensorSpec(tensor.shape, tensor.dtype))
            inputs[tensor.name] = value
        return function.call(**inputs)

    return Function(Signature(name="serving_bytes", inputs=tuple(replaced.values()),
                              outputs=function.signature.outputs), call)
