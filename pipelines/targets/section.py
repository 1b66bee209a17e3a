"""The part of a recipe that says where the model must run."""
from __future__ import annotations

from pydantic import Field, field_validator

import pipelines.targets  # noqa: F401  makes the targets known
from pipelines.entries import Section, once_each
from pipelines.targets.target import Target


def _usual() -> list[Target]:
    return [Target.read(name) for name in ("litert", "saved_model")]  # type: ignore[misc]


class ExportSection(Section):
    """Where the model must run.

    Args:
        targets: each a name, or a name with settings.
    """

    targets: list[Target] = Field(default_factory=_usual, min_length=1)

    @field_validator("targets")
    @classmethod
    def refuse_repeated_titles(cls, targets: list[Target]) -> list[Target]:
        return once_each(targets, "targets", "-2")
