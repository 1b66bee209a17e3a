"""The part of a recipe that says where the model must run."""
from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

import pipelines.targets  # noqa: F401  makes the targets known
from pipelines.entries import Section
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
    def once_each(cls, targets: list[Target]) -> list[Target]:
        titles = [target.title for target in targets]
        repeated = next((title for number, title in enumerate(titles) if title in titles[:number]), None)
        if repeated is not None:
            raise PydanticCustomError("combination", "two targets are called {title}; give one of them another name, for instance "
                                      "{{{title}: {{name: {title}-2}}}}", {"title": repeated})
        return targets
