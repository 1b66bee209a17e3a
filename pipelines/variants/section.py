"""The part of a recipe that says what to make of the trained model."""
from __future__ import annotations

from pydantic import Field, field_validator

import pipelines.variants  # noqa: F401  makes the variants known
from pipelines.entries import Section, once_each
from pipelines.variants.variant import Calibration, Variant


def _usual() -> list[Variant]:
    return [Variant.read(name) for name in ("float32", "float16", "dynamic", "int8")]  # type: ignore[misc]


class CompressSection(Section):
    """What to make of the trained model.

    Args:
        variants: files to make, each a name or a name with settings.
        calibration: training examples that integer variants find their ranges with, where they do not say it
            themselves.
    """

    variants: list[Variant] = Field(default_factory=_usual, min_length=1)
    calibration: Calibration = Calibration()

    @field_validator("variants")
    @classmethod
    def refuse_repeated_titles(cls, variants: list[Variant]) -> list[Variant]:
        return once_each(variants, "variants", "_2")
