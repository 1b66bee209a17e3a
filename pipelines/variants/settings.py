"""What several variants are told: the examples that ranges are found with, and how a training goes on."""
from __future__ import annotations

from pydantic import Field

from pipelines.entries import Section, ShortSection
from pipelines.training.distillation import Distillation


class Calibration(ShortSection, shorthand="examples"):
    """The training examples that integer variants find ranges with.

    Args:
        examples: how many.
        balanced: as many of each class; otherwise as they come.
    """

    examples: int = Field(200, ge=1, strict=True)
    balanced: bool = False


class Learning(Section):
    """How a variant that trains goes on from the trained model. Loss, data and augmentation are the recipe's.

    Args:
        epochs: passes over the training split.
        rate: peak of the learning rate, which falls along a cosine.
        distill: the float model teaches; not where it is null.
    """

    epochs: int = Field(3, ge=1)
    rate: float = Field(1e-4, gt=0)
    distill: Distillation | None = None
