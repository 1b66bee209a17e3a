"""Clustering: each layer's weights become a few shared values (tfmot, through the bridge)."""
from __future__ import annotations

import math
from typing import Any

from etils import epy

from export.compression.prune import reducible
from export.keras_models import bridge, namesakes
from export.tflite import file as tflite_file

with epy.lazy_imports():
    import keras
    import numpy as np
    import tf_keras

#: Where the shared values begin, by the names that the field has for it.
STARTS = {"kmeans++": "KMEANS_PLUS_PLUS", "linear": "LINEAR", "density": "DENSITY_BASED", "random": "RANDOM"}


def prepare(model: keras.Model, clusters: int, start: str = "kmeans++", preserve_sparsity: bool = False) -> Any:
    """Return the tf_keras model that learns with shared weights, with the inputs and outputs of the given one.

    Args:
        model: trained.
        clusters: different weights of each convolution, depthwise ones aside, and dense layer. Layers of fewer
            weights stay as they are.
        start: one of `STARTS`.
        preserve_sparsity: zeros stay zeros.

    Raises:
        BridgeError: a layer cannot cross to tf_keras.
    """
    from tensorflow_model_optimization.python.core.clustering.keras import cluster_config
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

    begin = getattr(cluster_config.CentroidInitialization, STARTS[start])
    chosen = {layer.name for layer in reducible(model) if math.prod(layer.kernel.shape) > clusters}

    def marked(layer: Any) -> Any:
        if layer.name not in chosen:
            return layer
        return cluster.cluster_weights(layer, clusters, begin, preserve_sparsity=preserve_sparsity)

    return tf_keras.models.clone_model(bridge.to_tf_keras(model), clone_function=marked)


def take_over(model: keras.Model, clustered: Any) -> None:
    """Give a model the weights of its clustered form."""
    from tensorflow_model_optimization.python.core.clustering.keras import cluster

    with namesakes.known_names():
        bridge.copy_by_name(cluster.strip_clustering(clustered), model)


def different_weights(model: keras.Model) -> int:
    """Return the most different weights that a reducible layer has."""
    return max((len(np.unique(np.asarray(layer.kernel))) for layer in reducible(model)), default=0)


def share_integers(content: bytes, clusters: int) -> bytes:
    """Return an integer file whose convolutions, depthwise ones aside, and dense layers have so many different
    weights each; zeros stay zeros.

    Normalization that was folded into weights has scaled each output channel on its own, so that one shared value has
    become as many integers as there are channels. They are grouped again, so that their squared error is the least
    that there is.

    Args:
        content: a TFLite file with weights in int8.
        clusters: different weights of a layer, zero among them.
    """
    model = tflite_file.read(content)
    tensors = model.subgraphs[0].tensors
    for name, operator in tflite_file.own_operators(model):
        if name not in ("CONV_2D", "FULLY_CONNECTED"):
            continue
        tensor = tensors[operator.inputs[1]]
        weights = tflite_file.constant(model, tensor)
        if weights is None or weights.dtype != np.int8:
            continue
        values, counts = np.unique(weights[weights != 0], return_counts=True)
        room = clusters - bool((weights == 0).any())
        if len(values) > room:
            grouped = np.zeros(256, "int8")  # by value; negative ones count from the end
            grouped[values.astype(int)] = np.rint(nearest_groups(values.astype(float), counts, room))
            model.buffers[tensor.buffer].data = grouped[weights.astype(int)].reshape(-1).view("uint8")
    return tflite_file.write(model)


def nearest_groups(values: np.ndarray, counts: np.ndarray, groups: int) -> np.ndarray:
    """Return for each of sorted values the mean of its group, where the groups have the least squared error: exact
    k-means in one dimension (Wang & Song 2011, "Ckmeans.1d.dp").

    Args:
        values: (n,), rising.
        counts: (n,), how often each occurs.
        groups: at most n.
    """
    count, first, second = (np.concatenate([[0.0], np.cumsum(counts * values**power)]) for power in (0, 1, 2))
    start, end = np.meshgrid(np.arange(len(values)), np.arange(1, len(values) + 1), indexing="ij")
    inside = np.where(end > start, count[end] - count[start], np.inf)
    # squared error of the group start..end - 1
    squared = second[end] - second[start] - (first[end] - first[start]) ** 2 / inside
    error = np.where(end > start, squared, np.inf)
    best = np.where(np.arange(len(values) + 1) == 0, 0.0, np.inf)
    cuts = []
    for _ in range(groups):
        reached = best[:-1, None] + error
        cuts.append(reached.argmin(axis=0))
        best = np.concatenate([[np.inf], reached.min(axis=0)])
    means = np.empty(len(values))
    last = len(values)
    for cut in reversed(cuts):
        begin = cut[last - 1]
        means[begin:last] = (first[last] - first[begin]) / (count[last] - count[begin])
        last = begin
    return means
