"""Variants that write the trained model as it is, in other numbers."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from export.compression import equalize
from export.conversion import bias_correction, convert, int8
from pipelines.variants.variant import Calibration, Variant, VariantContext


class Written(Variant):
    """What variants have in common that the converter writes without being asked anything."""

    @property
    def encoding(self) -> str:
        return str(self.entry_name)

    def content(self, shop: VariantContext) -> bytes:
        return convert.convert(shop.graph, self.encoding)


class Float32(Written, name="float32"):
    """As trained."""


class Float16(Written, name="float16"):
    """Weights in half precision, computed in float32 on a CPU."""


class Dynamic(Written, name="dynamic"):
    """Weights in int8, activations quantized while running."""


class Int8Weights(Written, name="int8_weights"):
    """Weights in int8, computed in float32."""


class Int4Weights(Written, name="int4_weights"):
    """Weights of convolutions and dense layers in 4 bits, computed in float32."""


class Calibrated(Variant):
    """What integer variants have in common.

    Args:
        calibration: the pictures that ranges are found with; those of compress.calibration where not given.
        ends: integer, or float for apps that want float32 in and out.
    """

    explained = True
    calibration: Calibration | None = None
    ends: Literal["integer", "float"] = "integer"

    @property
    def encoding(self) -> str:
        return str(self.entry_name)


class Int16x8(Calibrated, name="int16x8"):
    """Activations in 16-bit integers, weights in int8: accurate, and slow on CPUs."""

    def content(self, shop: VariantContext) -> bytes:
        return convert.convert(shop.graph, "int16x8", shop.pictures(self.calibration), integer_ends=self.ends == "integer")


class Int8(Calibrated, name="int8"):
    """Weights, activations, input and output in 8-bit integers.

    Args:
        per_channel: weights have a scale per output channel, not one for all.
        ranges: what an activation's range is: the smallest and largest value seen (min_max), or what loses least (mse).
        equalize: let the weights of neighbouring layers have like ranges first, for depthwise networks (Nagel et al. 2019).
        correct_bias: take what rounding shifts on average out of the biases (Nagel et al. 2019).
        keep_float: operators that stay in float16, by the numbers that `litepress explain` shows.
    """

    per_channel: bool = True
    ranges: Literal["min_max", "mse"] = "min_max"
    equalize: bool = False
    correct_bias: bool = False
    keep_float: list[int] = Field([])

    @property
    def encoding(self) -> str:
        return "mixed" if self.keep_float else "int8"

    @property
    def summary(self) -> str:
        extra = [*(["per tensor"] if not self.per_channel else []), *(["ranges by least squares"] if self.ranges == "mse" else []),
                 *(["equalized"] if self.equalize else []), *(["biases corrected"] if self.correct_bias else []),
                 *([f"{len(self.keep_float)} of them in float16"] if self.keep_float else [])]
        return ", ".join([super().summary, *extra])

    def content(self, shop: VariantContext) -> bytes:
        pictures, graph = shop.pictures(self.calibration), shop.graph
        if self.equalize:
            graph = _equalized(shop)
        if self.ranges == "min_max" and not self.keep_float:
            content = convert.convert(graph, "int8", pictures, per_channel=self.per_channel, integer_ends=self.ends == "integer")
        else:
            calibrated = int8.calibrate(graph, pictures)
            if self.ranges == "mse":
                calibrated = int8.with_best_ranges(calibrated, pictures)
            content = int8.quantize(calibrated, per_channel=self.per_channel, keep_float=self.keep_float,
                                    integer_ends=self.ends == "integer")
        if self.correct_bias:
            content = bias_correction.corrected(content, convert.convert(graph, "float32"), pictures)
        return content


def _equalized(shop: VariantContext) -> Path:
    graph = shop.folder / "equalized"
    if not graph.exists():
        convert.float_graph(equalize.equalized(shop.load()), graph)
    return graph
