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


def text_tensor(name: str = TEXT, meaning: str = "text, UTF-8") -> Tensor:
    """Return a tensor of one text for each example."""
    return Tensor(name=name, dtype="string", shape=(), role="text", meaning=meaning)


def tokens_of(texts: tf.Tensor, data: Data, name: str) -> tf.Tensor:
    """Return the tokens of texts, from string (batch,) to int32 (batch, length).

    Args:
        name: of the feature that is made of them.
    """
    feature, learnt = data.features[name], data.index.learnt[name]
    tensor = feature.tensor(name, learnt)
    return tf.map_fn(lambda one: feature.decode(one, learnt), texts,
                     fn_output_signature=tf.TensorSpec(tensor.shape, tensor.dtype))


def of_text(function: Function, data: Data) -> Function:
    """Return the function that takes texts, string (batch,), where the given one takes their tokens: each input of
    tokens becomes one of strings, called `text`, or `<name>_text` where there are several."""
    encoded = [tensor.name for tensor in function.signature.inputs
               if tensor.name in data.features and isinstance(data.features[tensor.name], Text)]
    names = {name: TEXT if len(encoded) == 1 else f"{name}_{TEXT}" for name in encoded}
    inputs = tuple(text_tensor(names[tensor.name]) if tensor.name in names else tensor
                   for tensor in function.signature.inputs)

    def call(**tensors: Any) -> dict[str, Any]:
        return function.call(**{
            tensor.name: tokens_of(tensors[names[tensor.name]], data, tensor.name) if tensor.name in names
            else tensors[tensor.name] for tensor in function.signature.inputs})

    return Function(function.signature.model_copy(update={"name": SIGNATURE, "inputs": inputs}), call)
