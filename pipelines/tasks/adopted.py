"""Models made elsewhere that are taken as graphs, for tasks whose examples are images."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from export.keras_models import as_graph
from export.keras_models.pixels import SCALING
from export.tflite import edit
from pipelines.ingest.index import Index


def graph_of_images(settings: Any, task: str, index: Index) -> bytes:
    """Return a model as a float32 TFLite file of raw pixels. Raises ValueError where it is of another kind.

    Args:
        settings: of the model, see `pipelines.training.model_section.ImportedModel`.
        task: what it is for, as recipes call it.
    """
    inputs = list(index.inputs.values())
    if len(inputs) != 1 or inputs[0].role != "image":
        raise ValueError(f"{settings.path} is not a Keras model; for {task} only those can be taken over")
    content = as_graph.as_tflite(Path(settings.path), settings.allow_code, settings.layout)
    try:
        return edit.normalized(content, *SCALING[settings.pixels or "0..255"])
    except ValueError as error:
        raise ValueError(f"{settings.path}: {error}") from error
