"""The encodings: how numbers are written in a TFLite file."""
from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Encoding:
    """A way of writing the weights and activations of a model.

    Args:
        summary: what it is, in a line.
        integer: whether every tensor is an integer, input and output included, as NPUs want it.
        calibrated: whether it needs example inputs to find the ranges of the activations.
    """

    name: str
    summary: str
    integer: bool = False
    calibrated: bool = False


ENCODINGS = {encoding.name: encoding for encoding in (
    Encoding("float32", "as trained"),
    Encoding("float16", "weights in half precision, computed in float32 on a CPU"),
    Encoding("dynamic", "weights in int8, activations quantized while running"),
    Encoding("int8", "weights, activations, input and output in 8-bit integers", integer=True, calibrated=True),
    Encoding("mixed", "int8, with some operators in float", calibrated=True),
    Encoding("int16x8", "activations in 16-bit integers, weights in int8: accurate, and slow on CPUs", integer=True,
             calibrated=True),
    Encoding("int8_weights", "weights in int8, computed in float32"),
    Encoding("int4_weights", "weights of convolutions and dense layers in 4 bits, computed in float32"),
    Encoding("int4_blocks", "weights of dense layers in 4 bits, in blocks, activations quantized while running"),
)}
