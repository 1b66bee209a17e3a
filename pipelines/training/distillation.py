"""The settings of knowledge distillation (Hinton et al. 2015); `learners.distilled` does it."""
from __future__ import annotations

from pydantic import Field

from pipelines.entries import Section


class Distillation(Section):
    """How much a teacher says.

    Args:
        temperature: softens the answers of both; above 1, small probabilities count more.
        weight: of the teacher's answers in the loss; what is left is the truth's.
    """

    temperature: float = Field(4.0, gt=0)
    weight: float = Field(0.7, gt=0, le=1)


class DistillationSection(Distillation):
    """A teacher and how much it says.

    Args:
        teacher: a recipe, which is trained first, or a .keras file; of the same inputs and outputs.
    """

    teacher: str = Field(min_length=1)

    @property
    def is_recipe(self) -> bool:
        """Return whether the teacher is a recipe."""
        return self.teacher.endswith((".yaml", ".yml"))
