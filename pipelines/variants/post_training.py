"""Variants that write the trained model as it is, in other number formats."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from export.compression import equalize
from export.conversion import bias_correction, convert, int8
from pipelines.engine.store import whole
from pipelines.variants import stepwise
from pipelines.variants.variant import REAL_INPUTS, Calibration, Variant, VariantContext, default_inputs


class Written(Variant):
    """What variants have in common that the converter writes without being asked anything."""

    @property
    def encoding(self) -> str:
        return str(self.entry_name)

    def content(self, context: VariantContext) -> bytes:
        return convert.convert(context.graph, self.encoding)


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
        calibration: the examples that ranges are found with; those of compress.calibration where not given.
        io: integer, or float for apps that want float32 in and out.
    """

    explained = True
    calibration: Calibration | None = None
    io: Literal["integer", "float"] = "integer"

    @property
    def encoding(self) -> str:
        return str(self.entry_name)


class Int16x8(Calibrated, name="int16x8"):
    """Activations in 16-bit integers, weights in int8: accurate, and slow on CPUs."""

    def content(self, context: VariantContext) -> bytes:
        if context.data.real_inputs:
            raise ValueError("int16x8 files take no real numbers, which this task's inputs are; use int8")
        calibration = context.calibration(self.calibration)
        return convert.convert(context.wide_integer_graph, "int16x8", calibration, integer_io=self.io == "integer")


class Int8(Calibrated, name="int8"):
    """Weights, activations, input and output in 8-bit integers.

    Args:
        per_channel: weights have a scale per output channel, not one for all.
        ranges: what an activation's range is: the smallest and largest value seen (min_max), or what loses least (mse).
        equalize: let the weights of neighbouring layers have like ranges first, for depthwise networks (Nagel et al.
            2019).
        correct_bias: take what rounding shifts on average out of the biases (Nagel et al. 2019).
        keep_float: operators that stay in float16, by the numbers that `litepress explain` shows.
        all_integer: an operator without an integer form is an error; otherwise it stays float, which the table says.
    """

    per_channel: bool = True
    ranges: Literal["min_max", "mse"] = "min_max"
    equalize: bool = False
    correct_bias: bool = False
    keep_float: list[int] = Field([])
    all_integer: bool = False

    @property
    def encoding(self) -> str:
        return "mixed" if self.keep_float else "int8"

    @property
    def summary(self) -> str:
        chosen = {
            "per tensor": not self.per_channel, "ranges by least squares": self.ranges == "mse",
            "equalized": self.equalize, "biases corrected": self.correct_bias,
            f"{len(self.keep_float)} of them in float16": bool(self.keep_float)}
        return ", ".join([super().summary, *(words for words, is_chosen in chosen.items() if is_chosen)])

    def content(self, context: VariantContext) -> bytes:
        if context.data.real_inputs:
            context.details["summary"] = REAL_INPUTS
        usual = self.ranges == "min_max" and not (self.keep_float or self.equalize or self.correct_bias)
        if usual and self.io == "integer" and self.per_channel:
            content = stepwise.looped(context, self.calibration)
            if content is not None:
                return content
        graph = _equalized(context) if self.equalize else context.integer_graph
        calibration = context.calibration(self.calibration)
        integer_io = self.io == "integer"
        if self.ranges == "min_max" and not self.keep_float:
            content = context.int8(graph, calibration, per_channel=self.per_channel, integer_io=integer_io,
                                   all_integer=self.all_integer or None)
        else:
            calibrated = int8.calibrate(graph, calibration, apart=context.data.real_inputs)
            if self.ranges == "mse":
                calibrated = int8.with_best_ranges(calibrated, default_inputs(calibration))
            kept = {*self.keep_float, *context.front(calibrated)}
            content = int8.quantize(
                calibrated, per_channel=self.per_channel, keep_float=sorted(kept), integer_io=integer_io)
        if self.correct_bias:
            exact = convert.convert(graph, "float32")
            content = bias_correction.corrected(content, exact, default_inputs(calibration))
        return content


def _equalized(context: VariantContext) -> Path:
    graph = context.folder / "equalized"
    if not graph.exists():
        model = context.for_integers(equalize.equalized(context.load()))
        with whole(graph) as beside:
            convert.float_graph(model, context.functions, beside)
    return graph
