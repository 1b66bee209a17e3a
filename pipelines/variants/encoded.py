"""What variants share that are the trained model in another form, whose numbers are written as a recipe says."""
from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from pipelines.variants.settings import Calibration
from pipelines.variants.variant import Variant

#: Encodings whose ranges are found with examples.
CALIBRATED = ("int8", "int16x8")


class Encoded(Variant):
    """A variant whose numbers are written in one of several ways.

    Args:
        encode: how they are.
        calibration: the examples that ranges are found with; those of compress.calibration where not given.
    """

    encode: Literal["float32", "float16", "dynamic", "int8", "int16x8"] = "float32"
    calibration: Calibration | None = None

    @model_validator(mode="after")
    def check_calibration(self) -> Encoded:
        if self.calibration is not None and self.encode not in CALIBRATED:
            raise ValueError(f"calibration is for int8 and int16x8, and encode is {self.encode}")
        return self

    @property
    def encoding(self) -> str:
        return self.encode
