"""The variant whose numbers are 8-bit integers but for parts of the network that integers ruin."""
from __future__ import annotations

from pydantic import Field

from export.conversion import int8, parts
from export.conversion.parts import Part
from pipelines.variants.post_training import Calibrated
from pipelines.variants.variant import VariantContext


class Int8Parts(Calibrated, name="int8_parts", shorthand="floats"):
    """Weights and activations in 8-bit integers, and parts of the network in float16: for denoisers and others that
    lose too much as a whole. Each range is that of one activation alone.

    Args:
        floats: parts that stay float: `conditions`, what is made of inputs that are no maps, `normalization`,
            `attention`, and `ends`, the first convolution and the last.
    """

    floats: list[Part] = Field(["conditions", "normalization", "attention", "ends"], min_length=1)

    @property
    def encoding(self) -> str:
        return "mixed"

    @property
    def summary(self) -> str:
        return f"{super().summary}; {', '.join(self.floats)} in float16"

    def content(self, context: VariantContext) -> bytes:
        calibrated = int8.calibrate(context.integer_graph, context.calibration(self.calibration), apart=True)
        kept = parts.operators(calibrated, self.floats)
        if not kept:
            raise ValueError(f"int8_parts: the model has nothing of {', '.join(self.floats)} that could stay float; "
                             "take int8")
        context.details["parts_float"] = {"operators": len(kept), "parts": list(self.floats)}
        return int8.quantize(calibrated, keep_float=kept, integer_io=self.io == "integer")
