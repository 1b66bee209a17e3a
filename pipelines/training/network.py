"""From a recipe to its Keras model."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from export.keras_models.load import is_keras, load
from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.training import window_front
from pipelines.training.adapter import Adapter
from pipelines.training.model_section import ImportedModel, ModelSection

if TYPE_CHECKING:
    import keras

#: From a model made elsewhere and what the recipe says of it to the same model as the task has its models.
Adopt = Callable[["keras.Model", ImportedModel], "keras.Model"]


def build(section: ModelSection, dimensions: Mapping[str, Any], outputs: Sequence[Tensor],
          adopt: Adopt, windows: Mapping[str, tuple[float, float]] | None = None) -> keras.Model:
    """Return the recipe's model with fresh weights, and pixels scaled as pretrained weights want them.

    Args:
        dimensions: of the data, as the task has them.
        outputs: those that the task needs of the model, by name.
        adopt: how the task takes a model that was made elsewhere.
        windows: of the inputs that are scans, see `window_front`.

    Raises:
        UserError: it cannot be built, lacks an output, or gives one of another shape.
    """
    try:
        model = _imported(section.imported, adopt) if section.imported else _built(section, dimensions)
        model = window_front.added(model, windows or {})
        check_outputs(model, outputs)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    return model


def check_outputs(model: keras.Model, outputs: Sequence[Tensor]) -> None:
    """Raise ValueError where a model lacks an output, or gives one of another shape."""
    named = models.named_outputs(model)
    for tensor in outputs:
        if tensor.name not in named:
            raise ValueError(f"{model.name} has no output {tensor.name}, which the task needs; it has "
                             f"{', '.join(named)}")
        sizes = tuple(named[tensor.name].shape[1:])
        if len(sizes) != len(tensor.shape) or not all(map(_fits, sizes, tensor.shape)):
            raise ValueError(f"{model.name} gives {tensor.name} of {sizes}; the task needs {tensor.shape}")


def _fits(size: int | None, expected: int | None) -> bool:
    return size is None or expected is None or size == expected


def load_weights(model: keras.Model, section: ModelSection) -> Sequence[str]:
    """Load the recipe's pretrained weights, if any; return the names of the layers that have some. Raises UserError."""
    if section.weights is None:
        return []
    try:
        return section.weights.load(model, section.builder, section.settings)
    except ValueError as error:
        raise UserError(f"model.weights: {error}") from error


def adapt(model: keras.Model, adapter: Adapter | None, pretrained: Sequence[str]) -> None:
    """Add the recipe's adapter, if any, to a model with its starting weights. Raises UserError where it does not fit.

    Args:
        pretrained: names of the layers that have starting weights.
    """
    if adapter is None:
        return
    try:
        adapter.adapt(model, pretrained)
    except ValueError as error:
        raise UserError(str(error)) from error


def _built(section: ModelSection, dimensions: Mapping[str, Any]) -> keras.Model:
    model = models.builder(section.builder).build(dimensions, section.settings)
    if section.weights is not None:
        section.weights.suit(model, section.builder, section.settings)
        model = section.weights.form(model, section.builder, section.settings)
    return model


def _imported(section: ImportedModel, adopt: Adopt) -> keras.Model:
    path = Path(section.path)
    if not is_keras(path):
        raise ValueError(f"{path} is not a Keras model: it can be pressed, not trained")
    return adopt(load(path), section)
