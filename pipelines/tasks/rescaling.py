"""Logits that are scaled and shifted after the training, in the weights of the layer that gives them."""
from __future__ import annotations

from typing import TYPE_CHECKING

from etils import epy

import models
from pipelines.errors import UserError

with epy.lazy_imports():
    import keras as keras_library
    import numpy as np
    import scipy.optimize
    import scipy.special

if TYPE_CHECKING:
    import keras

#: Temperatures that are searched, as logarithms.
SEARCHED = (-3.0, 3.0)


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return what logits are to be divided by so that their softmax fits the labels best: temperature scaling (Guo et
    al., "On Calibration of Modern Neural Networks", 2017, section 4.2).

    Args:
        logits: (examples, classes), of examples that were not learnt from.
        labels: true classes, (examples,).
    """
    def loss(exponent: float) -> float:
        scores = scipy.special.log_softmax(logits.astype(float) / np.exp(exponent), axis=1)
        return float(-scores[np.arange(len(labels)), labels].mean())

    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=SEARCHED, method="bounded").x))


def rescale(model: keras.Model, output: str, factor: float, shift: np.ndarray) -> None:
    """Multiply a model's logits with a number, and add one to each.

    Args:
        output: the name of the logits.
        shift: (classes,).

    Raises:
        UserError: no layer with weights gives them.
    """
    layers = keras_library.layers
    passing = (layers.GlobalAveragePooling2D, layers.Flatten, layers.Reshape, layers.Dropout, layers.Identity)
    operation = models.named_outputs(model)[output]._keras_history.operation
    while isinstance(operation, passing) or (isinstance(operation, layers.Activation) and not _bends(operation)):
        operation = operation.input._keras_history.operation
    if not hasattr(operation, "kernel") or getattr(operation, "bias", None) is None or _bends(operation):
        raise UserError(f"task.image_classification: the logits of {model.name} come from {operation.name}, which "
                        "cannot be scaled: leave calibrate and sensitivity out")
    operation.kernel.assign(operation.kernel * factor)
    operation.bias.assign(operation.bias * factor + shift)


def _bends(layer: keras.layers.Layer) -> bool:
    """Return whether a layer's activation is more than a line."""
    activation = getattr(layer, "activation", None)
    return activation is not None and activation is not keras_library.activations.linear
