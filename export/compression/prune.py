"""Pruning: the smallest weights become zeros while the others learn to do without them (tfmot, through the bridge)."""
from __future__ import annotations

from collections.abc import Collection
from typing import Any

from etils import epy

from export.keras_models import bridge, namesakes

with epy.lazy_imports():
    import keras
    import numpy as np
    import tf_keras


def prepare(model: keras.Model, sparsity: float, *, steps: int, constant: bool = False, two_of_four: bool = False,
            keep_dense: Collection[str] = ()) -> Any:
    """Return the tf_keras model that learns while its weights are pruned, with the inputs and outputs of the given one.

    Args:
        model: trained.
        sparsity: share of zeros in each convolution, dense and recurrent layer at the end; depthwise convolutions keep
            all weights, and so do recurrent layers of two directions.
        steps: of the training to come. Unless `constant`, the share rises over its first half along 1 - (1 - t)^3
            (Zhu & Gupta 2017).
        two_of_four: zeros are two of every four neighbours, as sparse hardware wants them.
        keep_dense: names of layers that keep all weights.

    Raises:
        BridgeError: a layer cannot cross to tf_keras.
        ValueError: `keep_dense` names a layer that is not there.
    """
    from tensorflow_model_optimization.python.core.sparsity.keras import prune, pruning_schedule

    if unknown := set(keep_dense) - {layer.name for layer in model.layers}:
        raise ValueError(f"keep_dense: the model has no layer {sorted(unknown)[0]}")
    every = max(1, steps // 100)
    if constant or two_of_four:
        schedule = pruning_schedule.ConstantSparsity(0.5 if two_of_four else sparsity, begin_step=0, frequency=every)
    else:
        schedule = pruning_schedule.PolynomialDecay(0.0, sparsity, begin_step=0, end_step=max(1, steps // 2),
                                                    frequency=every)
    pattern = {"sparsity_m_by_n": (2, 4)} if two_of_four else {}
    prunable = [*reducible(model), *(() if two_of_four else recurrent(model))]
    chosen = {layer.name for layer in prunable} - set(keep_dense)

    def marked(layer: Any) -> Any:
        return prune.prune_low_magnitude(layer, schedule, **pattern) if layer.name in chosen else layer

    return tf_keras.models.clone_model(bridge.to_tf_keras(model), clone_function=marked)


def callbacks() -> list[Any]:
    """Return the callbacks that a training of a prepared model needs."""
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_callbacks

    return [pruning_callbacks.UpdatePruningStep()]


def take_over(model: keras.Model, pruned: Any) -> None:
    """Give a model the weights of its pruned form, zeros and all."""
    from tensorflow_model_optimization.python.core.sparsity.keras import prune

    with namesakes.known_names():
        bridge.copy_by_name(prune.strip_pruning(pruned), model)


def reducible(model: keras.Model) -> list[Any]:
    """Return the layers whose kernels can do with less: convolutions, depthwise ones aside, and dense layers."""
    kinds = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense)
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def recurrent(model: keras.Model) -> list[Any]:
    """Return the recurrent layers whose kernels can do with less: LSTM, GRU and SimpleRNN in one direction."""
    return [layer for layer in model.layers
            if isinstance(layer, (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN))]


def sparsity(model: keras.Model) -> float:
    """Return the share of zeros among the weights of all reducible and recurrent layers."""
    kernels = [np.asarray(layer.kernel) for layer in reducible(model)]
    kernels += [np.asarray(kernel) for layer in recurrent(model)
                for kernel in (layer.cell.kernel, layer.cell.recurrent_kernel)]
    zeros = sum((kernel == 0).sum() for kernel in kernels)
    return round(float(zeros / max(1, sum(kernel.size for kernel in kernels))), 4)
