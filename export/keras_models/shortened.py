"""Models of texts for shorter ones: the same layers, and so the same weights, on fewer tokens."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

from export.keras_models import bridge
from export.keras_models.rebuild import replayed

with epy.lazy_imports():
    import keras
    import numpy as np


def shortened(model: keras.Model, length: int) -> keras.Model:
    """Return a model of the first tokens alone; its layers are those of the given one.

    Args:
        model: functional, of one input, (batch, tokens); its layers take any number of them, and what is reshaped, or
            added as an array of NumPy, has the tokens on an axis of their number.
        length: tokens that it takes.

    Raises:
        ValueError: it takes something else, or fewer tokens, or has an operation that needs all of them.
    """
    graph = bridge.keras_graph(model)
    (tensor, *others) = graph.inputs
    if others or len(tensor.shape) != 2:
        raise ValueError(f"{model.name} takes something else than the tokens of one text")
    whole = int(tensor.shape[1])
    if not 0 < length < whole:
        raise ValueError(f"{model.name} takes {whole} tokens; it can be shortened to 1 to {whole - 1}, not to {length}")
    tokens = keras.Input((length,), dtype=tensor.dtype, name=tensor._keras_history.operation.name)
    try:
        outputs = replayed(model, [tokens], lambda one: _shortened(one, whole, length))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{model.name} cannot be shortened to {length} tokens: {str(error).splitlines()[0]}") from None
    return keras.Model(keras.tree.pack_sequence_as(graph.input, [tokens]), outputs, name=model.name)


def _shortened(operation: Any, whole: int, length: int) -> Callable[..., Any]:
    """Return what is called in the place of an operation."""
    if isinstance(operation, keras.layers.Layer):
        return operation
    if type(operation).__name__ == "Reshape":
        return lambda x: keras.ops.reshape(x, _shape(x.shape[1:], operation.newshape, whole, length))

    def called(*arguments: Any, **settings: Any) -> Any:
        return operation(*[argument[:length] if isinstance(argument, np.ndarray) and argument.shape == (whole,)
                           else argument for argument in arguments], **settings)

    return called


def _shape(sizes: Sequence[int], shape: Sequence[int], whole: int, length: int) -> list[int]:
    """Return what an example of these sizes is reshaped to, the batch first: as before where it fits, as what has no
    tokens does, even if its units are as many."""
    result = list(shape)
    if math.prod(sizes) != math.prod(result[1:]) and whole in result[1:]:
        result[result.index(whole, 1)] = length
    return result
