"""Models that were made elsewhere, as Keras 3 models from raw pixels to logits."""
from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from etils import epy

from export.keras_models import bridge, ends, graph
from export.keras_models.pixels import SCALING, Pixels
from export.keras_models.rebuild import is_graph, replayed
from export.signature import Signature, shown

with epy.lazy_imports():
    import keras
    import numpy as np


def classifier(model: keras.Model, pixels: Pixels, *, dense: bool = False) -> keras.Model:
    """Return a model from `image`, raw pixels (batch, height, width, channels), to `logits` (batch, classes), or of a
    dense one (batch, height, width, classes).

    The output is bare where the operation that gives it is called logits, else a dict of that name.

    Args:
        model: of one image of a known size, to one number per class, or one of two classes: logits, or their softmax or
            sigmoid, which is taken off wherever in it it is.
        pixels: the range that the model was trained on.
        dense: it gives these numbers for each pixel.

    Raises:
        ValueError: the model is not of that kind.
    """
    network = bridge.keras_graph(ends.without_activation(_checked(model, dense)))
    scale, offset = SCALING[pixels]
    image = keras.Input(network.inputs[0].shape[1:], name="image")
    x = image if (scale, offset) == (1.0, 0.0) else keras.layers.Rescaling(scale, offset, name="pixels")(image)
    (logits,) = keras.tree.flatten(replayed(network, [x], lambda operation: operation))
    if logits.shape[-1] == 1:
        logits = of_two(logits, {operation.name for operation in network.operations})
    is_named = logits._keras_history.operation.name == "logits"
    return keras.Model(image, logits if is_named else {"logits": logits}, name=model.name)


def named(model: keras.Model) -> keras.Model:
    """Return a model of any inputs and outputs with these by name, in dicts: inputs after their input layers, outputs
    after the layers that they come out of, or as the model calls them.

    Raises:
        ValueError: the model is not a functional or Sequential one, or two have one name.
    """
    network = bridge.keras_graph(model)
    signature = signature_in_order(model)
    inputs = {tensor.name: keras.Input(batch_shape=(None, *own.shape[1:]), dtype=own.dtype, name=tensor.name)
              for tensor, own in zip(signature.inputs, network.inputs, strict=True)}
    answers = keras.tree.flatten(replayed(network, list(inputs.values()), lambda operation: operation))
    names = [tensor.name for tensor in signature.outputs]
    return keras.Model(inputs, dict(zip(names, answers, strict=True)), name=model.name)


def signature_in_order(model: keras.Model) -> Signature:
    """Return what a model takes and gives, by the names that `named` gives them, in the model's own order.

    Raises:
        ValueError: the model is not a functional or Sequential one, or two have one name.
    """
    network = bridge.keras_graph(model)
    own = graph.signature_of(network)
    taken = [plain(tensor._keras_history.operation.name) for tensor in network.inputs]
    given = [plain(tensor.name) for tensor in own.outputs]
    if len(set(taken)) < len(taken) or len(set(given)) < len(given):
        raise ValueError(f"{model.name} has two inputs or two outputs of one name")
    renamed = [[tensor.model_copy(update={"name": name}) for name, tensor in zip(names, tensors, strict=True)]
               for names, tensors in ((taken, own.inputs), (given, own.outputs))]
    return Signature(inputs=tuple(renamed[0]), outputs=tuple(renamed[1]))


def plain(name: str) -> str:
    """Return a tensor's name as files, servers and phones all take it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name.removesuffix(":0"))


def of_two(logit: Any, taken: Collection[str]) -> Any:
    """Return the logits of two classes, 0 and the one that a model gives: the softmax of these is its sigmoid.

    Args:
        taken: names of the model's operations.
    """
    units = {"use_bias": False, "trainable": False, "name": "two_classes" if "logits" in taken else "logits"}
    layer = keras.layers.Dense(2, **units) if len(logit.shape) == 2 else keras.layers.Conv2D(2, 1, **units)
    logits = layer(logit)
    layer.set_weights([np.reshape([0.0, 1.0], layer.weights[0].shape)])
    return logits


def _checked(model: keras.Model, dense: bool) -> keras.Model:
    """Return the functional model that a classifier of images is. Raises ValueError where it is something else."""
    if not is_graph(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"{model.name} ({type(model).__name__}) must be a functional or Sequential model of one "
                         "image and one output")
    shape, outputs = model.inputs[0].shape, model.outputs[0].shape
    if len(shape) != 4 or None in shape[1:] or shape[-1] not in (1, 3):
        raise ValueError(f"{model.name} takes {shown(shape)}; it must be images of a known size, (batch, height, "
                         "width, 1 or 3 channels)")
    if len(outputs) != (4 if dense else 2) or not outputs[-1]:
        expected = "(batch, height, width, classes)" if dense else "(batch, classes)"
        raise ValueError(f"{model.name} gives {shown(outputs)}; it must be {expected}, or one number for two classes")
    return model
