"""Detectors that were made elsewhere, whose only output holds boxes and scores: YOLO's, from version 5 on."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.keras_models import as_graph
from export.keras_models.pixels import SCALING
from export.tflite import edit, heads
from models.box_coding import RAW_BOXES, RAW_LOGITS, BoxCoding, Given
from pipelines.training.model_section import ImportedModel

with epy.lazy_imports():
    import keras
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Centres(BoxCoding):
    """Boxes as centre x, centre y, width and height, and scores as they are.

    Args:
        count: boxes before any is left out.
        unit: of what the network gives: pixels, or shares of the image.
    """

    count: int
    unit: str

    def outputs(self, classes: int) -> dict[str, Given]:
        return {RAW_BOXES: Given((self.count, 4), f"centre x, centre y, width and height in {self.unit}"),
                RAW_LOGITS: Given((self.count, classes),
                                  "scores, one per box and class, in the order of labels.txt")}

    def places(self, classes: int) -> int:
        return self.count

    def boxes(self, outputs: Mapping[str, Any]) -> Any:
        return self.decode(outputs[RAW_BOXES])

    def scores(self, outputs: Mapping[str, Any]) -> Any:
        return keras.ops.convert_to_tensor(outputs[RAW_LOGITS])

    def decode(self, boxes: Any) -> Any:
        """Return boxes (…, places, 4) as ymin, xmin, ymax, xmax in pixels out of what the network gives."""
        height, width = self.size
        if self.unit == "shares":
            boxes = boxes * np.array([width, height, width, height], "float32")
        centres, halves = boxes[..., 1::-1], boxes[..., :1:-1] / 2  # y before x
        return keras.ops.concatenate([centres - halves, centres + halves], axis=-1)


def adopted(settings: ImportedModel, classes: int, names: tuple[str, str]) -> bytes:
    """Return a detector made elsewhere as a float32 TFLite file from raw pixels to boxes and to scores.

    Args:
        classes: how many there are.
        names: of the two outputs.

    Raises:
        ValueError: it cannot be read, or gives something else.
    """
    assert settings.head is not None
    content = as_graph.as_tflite(Path(settings.path), settings.allow_code, settings.layout)
    try:
        content = edit.normalized(content, *SCALING[settings.pixels or "0..255"])
        return heads.separated(content, classes, settings.head.objectness, names)[0]
    except ValueError as error:
        raise ValueError(f"{settings.path}: {error}") from error
