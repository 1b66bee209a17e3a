"""What is asked of a server's model of text: strings in place of tokens, which the graph makes of them itself."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function, Tensor
from pipelines.features.text import Text

with epy.lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: The signature that takes strings, and its input where the model takes one text.
SIGNATURE, TEXT = "serving_bytes", "text"


def of_text(function: Function, data: Data) -> Function:
    """Return the function that takes texts, string (batch,), where the given one takes their tokens: each input of
    tokens becomes one of strings, called `text`, or `<name>_text` where there are several."""
    encoded = [tensor.name for tensor in function.signature.inputs
               if tensor.name in data.features and isinstance(data.features[tensor.name], Text)]
    names = {name: TEXT if len(encoded) == 1 else f"{name}_{TEXT}" for name in encoded}
    inputs = tuple(Tensor(name=names[tensor.name], dtype="string", shape=(), role="text", meaning="text, UTF-8")
                   if tensor.name in names else tensor for tensor in function.signature.inputs)

    def call(**tensors: Any) -> dict[str, Any]:
        taken = {}
        for tensor in function.signature.inputs:
            if tensor.name not in names:
                taken[tensor.name] = tensors[tensor.name]
                continue
            feature, learnt = data.features[tensor.name], data.index.learnt[tensor.name]
            taken[tensor.name] = tf.map_fn(lambda one, feature=feature, learnt=learnt: feature.decode(one, learnt),
                                           tensors[names[tensor.name]],
                                           fn_output_signature=tf.TensorSpec(tensor.shape, tensor.dtype))
        return function.call(**taken)

    return Function(function.signature.model_copy(update={"name": SIGNATURE, "inputs": inputs}), call)
