"""From a recipe to its Keras model."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import models
from export.keras_models import imported
from pipelines.errors import UserError
from pipelines.training.model_section import ModelSection

if TYPE_CHECKING:
    import keras


def build(section: ModelSection, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """The recipe's model with fresh weights, and pixels scaled as pretrained weights want them. Raises UserError where it cannot be."""
    try:
        if section.given is not None:
            path = Path(section.given.path)
            if not imported.is_keras(path):
                raise ValueError(f"{path} is no Keras model: it can be pressed, not trained")
            return imported.classifier(imported.load(path), section.given.pixels or "0..255")
        model = models.build(section.builder, input_shape=input_shape, classes=classes, **section.settings)
        if section.weights is not None:
            section.weights.suit(model, section.builder, section.settings)
        return model
    except ValueError as error:
        raise UserError(f"model: {error}") from error


def load_weights(model: keras.Model, section: ModelSection) -> Sequence[str]:
    """Loads the recipe's pretrained weights, if any; the names of the layers that have some. Raises UserError."""
    if section.weights is None:
        return []
    try:
        return section.weights.load(model, section.builder, section.settings)
    except ValueError as error:
        raise UserError(f"model.weights: {error}") from error
