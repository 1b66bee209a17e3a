"""The ends of a tf_keras model that is to learn with rounding: what stays in real numbers where its inputs are real."""
from __future__ import annotations

from collections.abc import Collection
from typing import Any

from etils import epy

with epy.lazy_imports():
    import tf_keras


def without_weights(model: Any) -> set[str]:
    """Return the names of the layers before the first trained weights of a tf_keras model, and behind the last.

    In front inputs are scaled, or made a spectrogram of; at the end answers are brought into the units of the data.
    Integer files do that in real numbers.
    """
    front: set[str] = set()
    behind: set[str] = set()
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    takers: dict[str, set[str]] = {}
    for node in nodes:  # of which each comes behind those whose answers it takes
        sources = set() if node.is_input else {tensor.node.layer.name for tensor in node.keras_inputs}
        for source in sources:
            takers.setdefault(source, set()).add(node.layer.name)
        if not node.layer.trainable_weights and sources <= front:
            front.add(node.layer.name)
    for node in reversed(nodes):
        if not node.layer.trainable_weights and takers.get(node.layer.name, set()) <= behind:
            behind.add(node.layer.name)
    return front | behind


def with_real_inputs(aware: Any, names: Collection[str]) -> Any:
    """Return a model that learns with rounding, without that of some inputs; it shares the layers."""
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_layer

    def exact(layer: Any) -> Any:
        is_rounding = isinstance(layer, quantize_layer.QuantizeLayer)
        if is_rounding and layer.inbound_nodes[0].keras_inputs[0].node.layer.name in names:
            return tf_keras.layers.Activation("linear", name=layer.name)
        return layer

    return tf_keras.models.clone_model(aware, clone_function=exact)
