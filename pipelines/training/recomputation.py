"""Activations that are computed again for the gradients, and not kept (Chen et al., "Training Deep Nets with Sublinear
Memory Cost", 2016)."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from models.attention import attention_class
from models.transformer import activation_class

with epy.lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    import keras


def recompute(model: keras.Model) -> list[str]:
    """Let a model's attention and the activations of its feed-forward parts keep what goes in and out alone, and
    compute the rest again for the gradients: of attention that is numbers for each pair of tokens.

    Those that draw random numbers, which would be others the second time, stay as they are. Keras' own RematScope takes
    no layer with an argument `training` in a graph.

    Returns:
        The names of the layers.
    """
    kinds = (attention_class(), activation_class())
    chosen: list[Any] = [layer for layer in model.layers if isinstance(layer, kinds)]
    chosen = [layer for layer in chosen if not layer.variables]
    for layer in chosen:
        layer.call = _again(layer.call)
    return [layer.name for layer in chosen]


def _again(call: Any) -> Any:
    def again(*tensors: Any, **settings: Any) -> Any:
        def computed(*known: Any) -> Any:
            left = iter(known)
            return call(*(None if one is None else next(left) for one in tensors), **settings)

        return tf.recompute_grad(computed)(*(one for one in tensors if one is not None))

    return again
