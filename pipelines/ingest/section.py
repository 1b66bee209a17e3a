"""The part of a recipe that says what the model learns from."""
from __future__ import annotations

from typing import Literal

from pydantic import Field

import pipelines.ingest  # noqa: F401  makes the sources known
from pipelines.entries import Section
from pipelines.ingest.augmentation.augment import Augmentation
from pipelines.ingest.pictures import ImageSettings
from pipelines.ingest.sources.source import Source


class DataSection(Section):
    """What the model learns from.

    Args:
        source: a name, tfds:<name>, or image_folder / tfrecord with settings.
        image: the pictures as the model sees them.
        augment: random changes of training pictures, in order.
        batch: examples per training step.
        validation: share of the training part to hold out for validation, where the source has no such part.
        test: the same for the test part.
        max_unreadable: the largest share of unreadable pictures to go on with.
        labels: true, or model where they are but the answers of the model that is pressed: accuracy is then the share of pictures on
            which a file answers as that model does.
    """

    source: Source
    image: ImageSettings = ImageSettings()
    augment: list[Augmentation] = []
    batch: int = Field(64, ge=1)
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    max_unreadable: float = Field(0.01, ge=0, le=1)
    labels: Literal["true", "model"] = "true"
