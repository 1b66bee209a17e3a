"""A Keras model as two: what comes up to one of its layers, and the network behind it."""
from __future__ import annotations

import dataclasses
from typing import Any

from etils import epy

from export.keras_models import graph
from export.keras_models.bridge import keras_graph
from export.keras_models.rebuild import fresh_input, rebuilt, replayed
from export.signature import Signature
from export.tensors import described

with epy.lazy_imports():
    import keras

#: What the first model gives, and the second takes.
FEATURES = "features"


@dataclasses.dataclass(frozen=True)
class Split:
    """Two models that answer one after the other what one did; they share its weights.

    Args:
        front: from the model's inputs to `FEATURES`.
        network: from `FEATURES` to the model's outputs, by its names.
        shape: of the features, without the batch.
    """

    front: keras.Model
    network: keras.Model
    shape: tuple[int | None, ...]

    def of_front(self, whole: Signature) -> Signature:
        """Return the signature of the front, from that of the whole model."""
        return Signature(inputs=whole.inputs, outputs=(described(FEATURES, "float32", (1, *self.shape), output=True),))

    def of_network(self, whole: Signature) -> Signature:
        """Return the signature of the network, from that of the whole model."""
        return Signature(inputs=(described(FEATURES, "float32", (1, *self.shape)),), outputs=whole.outputs)


def split(model: keras.Model, name: str, **settings: Any) -> Split:
    """Return a model cut behind a layer.

    Args:
        model: functional or Sequential; it stays as it is.
        name: of the layer, which is one of the model's own.
        settings: of the layer, in which its copy differs: for a layer without weights.

    Raises:
        ValueError: there is no such layer, or something behind it sees what comes before it too.
    """
    whole = keras_graph(model)
    layer = next((one for one in whole.operations if one.name == name), None)
    if layer is None:
        raise ValueError(f"{model.name} has no layer {name}, behind which it could be cut")
    given = keras.Input(batch_shape=layer.output.shape, dtype=layer.output.dtype, name=FEATURES)
    inputs = [fresh_input(tensor) for tensor in whole.inputs]
    outputs = replayed(whole, inputs, lambda one: (lambda *_, **__: given) if one is layer else one)
    if not isinstance(outputs, dict):
        outputs = dict(zip(graph.output_names(model), keras.tree.flatten(outputs), strict=True))
    try:
        network = keras.Model(given, outputs, name=model.name)
    except ValueError as error:
        raise ValueError(f"{model.name} cannot be cut behind {name}: what follows sees what comes before as "
                         "well") from error
    front = keras.Model(whole.inputs, layer.output, name=name)
    if settings:
        front = rebuilt(front, lambda one: _changed(one, settings) if one is layer else one)
    return Split(front, network, tuple(layer.output.shape[1:]))


def _changed(layer: Any, settings: dict[str, Any]) -> Any:
    """Return a layer without weights, with other settings."""
    return type(layer).from_config({**layer.get_config(), **settings})
