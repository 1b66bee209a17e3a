"""Low rank: a convolution as two thin ones in a row, found in closed form by singular value decomposition (Tai et al.
2016, "Convolutional neural networks with low-rank regularization", theorem 1); a dense layer or a 1 x 1 convolution
as two."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.keras_models.rebuild import rebuilt

with epy.lazy_imports():
    import keras
    import numpy as np


def factorized(model: keras.Model, keep: float) -> keras.Model:
    """Return the model with every convolution and dense layer that becomes smaller by it written as two, the nearest of
    their rank.

    Args:
        model: functional; it keeps its weights.
        keep: share of each layer's energy, the sum of its squared singular values, that stays.

    Returns:
        A model with the same inputs and outputs, whose answers are as near as the energy says. Layers that would not
        become smaller, grouped, depthwise and dilated ones are shared with the given model. An output that is called
        after its layer keeps that name.
    """
    last = {tensor._keras_history.operation.name for tensor in model.outputs}

    def thin(operation: Any) -> Any:
        return _thin(operation, keep, operation.name in last) or operation

    return rebuilt(model, thin)


def _thin(layer: Any, keep: float, is_last: bool) -> Any:
    """Return two layers in the place of one, as a function, or None where they would not be smaller."""
    if type(layer) is keras.layers.Dense and len(layer.input.shape) == 2:
        return _thin_dense(layer, keep, is_last)
    if type(layer) is not keras.layers.Conv2D or layer.groups != 1 or set(layer.dilation_rate) != {1}:
        return None
    height, width, channels, filters = layer.kernel.shape
    kernel = np.asarray(layer.kernel)
    # rows: (height, input channels), columns: (width, filters), as in the paper's equation 6
    first, second, rank = _decomposed(kernel.transpose(0, 2, 1, 3).reshape(height * channels, width * filters), keep)
    if rank * (height * channels + width * filters) >= kernel.size:
        return None
    vertical = keras.layers.Conv2D(rank, (height, 1), (layer.strides[0], 1), layer.padding, use_bias=False,
                                   name=f"{layer.name}_vertical")
    horizontal = keras.layers.Conv2D(filters, (1, width), (1, layer.strides[1]), layer.padding, use_bias=layer.use_bias,
                                     activation=layer.activation,
                                     name=layer.name if is_last else f"{layer.name}_horizontal")
    vertical.build(layer.input.shape)
    horizontal.build((*layer.input.shape[:-1], rank))
    vertical.kernel.assign(first.reshape(height, channels, 1, rank).transpose(0, 2, 1, 3))
    horizontal.kernel.assign(second.reshape(1, rank, width, filters).transpose(0, 2, 1, 3))
    if layer.use_bias:
        horizontal.bias.assign(layer.bias)
    return lambda x, **settings: horizontal(vertical(x))


def _thin_dense(layer: Any, keep: float, is_last: bool) -> Any:
    kernel = np.asarray(layer.kernel)
    first, second, rank = _decomposed(kernel, keep)
    if rank * sum(kernel.shape) >= kernel.size:
        return None
    narrow = keras.layers.Dense(rank, use_bias=False, name=f"{layer.name}_narrow")
    wide = keras.layers.Dense(kernel.shape[1], use_bias=layer.use_bias, activation=layer.activation,
                              name=layer.name if is_last else f"{layer.name}_wide")
    narrow.build((None, kernel.shape[0]))
    wide.build((None, rank))
    narrow.kernel.assign(first)
    wide.kernel.assign(second)
    if layer.use_bias:
        wide.bias.assign(layer.bias)
    return lambda x, **settings: wide(narrow(x))


def _decomposed(matrix: np.ndarray, keep: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Return two factors of a matrix of the smallest rank that keeps a share of its energy, and the rank."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    energy = np.cumsum(values**2) / (values**2).sum()
    rank = int(np.searchsorted(energy, keep) + 1)
    root = np.sqrt(values[:rank])
    return left[:, :rank] * root, root[:, None] * right[:rank], rank
