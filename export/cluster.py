"""Clustering: each layer's weights become a few shared values (tfmot, through the bridge)."""
from __future__ import annotations

import math
from typing import Any

from etils import epy

from export import bridge
from export.prune import reducible

with epy.lazy_imports():
    import keras
    import numpy as np
    import tf_keras

#: Where the shared values begin, by the names that the field has for it.
STARTS = {"kmeans++": "KMEANS_PLUS_PLUS", "linear": "LINEAR", "density": "DENSITY_BASED", "random": "RANDOM"}


def prepare(model: keras.Model, clusters: int, start: str = "kmeans++", preserve_sparsity: bool = False) -> Any:
    """The tf_keras model that learns with shared weights.

    Args:
        model: trained.
        clusters: different weights of each convolution, depthwise ones aside, and dense layer. Layers of fewer weights stay as they are.
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
        return cluster.cluster_weights(layer, clusters, begin, preserve_sparsity=preserve_sparsity) if layer.name in chosen else layer

    return tf_keras.models.clone_model(bridge.to_tf_keras(model), clone_function=marked)


def take_over(model: keras.Model, clustered: Any) -> None:
    """Gives a model the weights of its clustered form."""
    from tensorflow_model_optimization.python.core.clustering.keras import cluster

    with bridge.known_activations():
        bridge.copy_by_name(cluster.strip_clustering(clustered), model)


def different_weights(model: keras.Model) -> int:
    """The most different weights that a reducible layer has."""
    return max((len(np.unique(np.asarray(layer.kernel))) for layer in reducible(model)), default=0)
