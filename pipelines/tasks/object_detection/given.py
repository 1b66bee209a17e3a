"""Detectors that were made elsewhere, whose only output holds boxes and scores: YOLO's, from version 5 on."""
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from etils import epy

from export.keras_models import as_graph
from export.keras_models.pixels import SCALING
from export.tflite import edit, heads
from models.box_coding import Points
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Centres:
    """Boxes as centre x, centre y, width and height.

    Args:
        size: height and width of the image in pixels.
        count: boxes before any is left out.
        unit: of what the network gives: pixels, or shares of the image.
    """

    size: tuple[int, int]
    count: int
    unit: str
    #: Numbers of a box, and of each of its sides.
    width: int = 4
    bins: int = 1

    def decode(self, boxes: Any) -> Any:
        """Return boxes (…, places, 4) as ymin, xmin, ymax, xmax in pixels out of what the network gives."""
        height, width = self.size
        if self.unit == "shares":
            boxes = boxes * np.array([width, height, width, height], "float32")
        centres, halves = boxes[..., 1::-1], boxes[..., :1:-1] / 2  # y before x
        return keras.ops.concatenate([centres - halves, centres + halves], axis=-1)


def scores(coding: Points | Centres, values: Any) -> Any:
    """Return scores, 0 to 1, out of what the network gives for them."""
    return tf.convert_to_tensor(values) if isinstance(coding, Centres) else tf.sigmoid(values)


def adopted(settings: ImportedModel, classes: int, names: tuple[str, str]) -> bytes:
    """Return a detector made elsewhere as a float32 TFLite file from raw pixels to boxes and to scores.

    Args:
        classes: how many there are.
        names: of the two outputs.

    Raises:
        ValueError: it cannot be read, or gives something else.
    """
    assert settings.head is not None
    content = as_graph.as_tflite(Path(settings.path), settings.allow_code)
    try:
        content = edit.normalized(content, *SCALING[settings.pixels or "0..255"])
        return heads.separated(content, classes, settings.head.objectness, names)[0]
    except ValueError as error:
        raise ValueError(f"{settings.path}: {error}") from error
