"""What several variants are told: the examples that ranges are found with, and how a training goes on."""
from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from pipelines.entries import Section
from pipelines.training.distillation import Distillation


class Calibration(Section):
    """The training examples that integer variants find ranges with. A bare number means `examples`.

    Args:
        examples: how many.
        balanced: as many of each class; otherwise as they come.
    """

    examples: int = Field(200, ge=1)
    balanced: bool = False

    @model_validator(mode="before")
    @classmethod
    def read_number(cls, value: Any) -> Any:
        return {"examples": value} if isinstance(value, int) and not isinstance(value, bool) else value


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
