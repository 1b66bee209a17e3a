"""The variants: what compression makes of a trained model."""
from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way of writing the weights and activations of a model.

    Args:
        name: as recipes call it.
        summary: what it is, in a line.
        integer: whether every tensor is an integer, input and output included, as NPUs want it.
        calibrated: whether it needs example inputs to find the ranges of the activations.
    """

    name: str
    summary: str
    integer: bool = False
    calibrated: bool = False


VARIANTS = {variant.name: variant for variant in (
    Variant("float32", "as trained"),
    Variant("float16", "weights in half precision, computed in float32 on a CPU"),
    Variant("dynamic", "weights in int8, activations quantized while running"),
    Variant("int8", "weights, activations, input and output in 8-bit integers", integer=True, calibrated=True),
)}
