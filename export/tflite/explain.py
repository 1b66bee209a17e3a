"""Why an integer file answers differently: how far each of its operators is from the float model's, on real data."""
from __future__ import annotations

import math
from collections.abc import Sequence

from etils import epy
from pydantic import BaseModel

from export.signature import Arrays
from export.tflite import file as tflite_file
from export.tflite import gates, lstm
from export.tflite.trace import Step, Trace, pairs

with epy.lazy_imports():
    import numpy as np

#: Decibels that stand for no error at all.
PERFECT = 120.0
#: Share of an LSTM's gates that are cut off, above which that is worth a word.
CUT = 0.001
#: rms error over scale that rounding alone makes: 1 / sqrt(12).
ROUNDING = 1 / math.sqrt(12)


class LayerError(BaseModel):
    """An operator of an integer file against the same of the float model.

    Args:
        number: its position among the float model's operators, counted from 0.
        operator: its kind.
        name: the layer it came from, as far as the file knows.
        shape: of its output.
        sqnr: signal to quantization noise of its output in decibels: 10 log10 of the mean square of the float values
            over that of the errors.
        added: noise over signal of its output less that of its noisiest input: what this operator itself adds.
        error_over_scale: root mean square error in steps of the output's scale; rounding alone makes 0.29.
        saturated: share of its values that are cut off at the end of the range.
        crest: largest float value over their root mean square; where it is large, few values use most of the range.
        weight_spread: largest over median of the ranges of its weights by output channel, where one scale serves all
            channels; else 1.
        cut: of an LSTM, the share of what its inputs give its gates that lies beyond -8 to 8. The integer kernel cuts
            that off before it adds what the gates have of the state.
    """

    number: int
    operator: str
    name: str
    shape: tuple[int, ...]
    sqnr: float
    added: float
    error_over_scale: float
    saturated: float
    crest: float
    weight_spread: float
    cut: float = 0.0


class LayerErrors(BaseModel):
    """The errors of a file's operators, in the network's order."""

    errors: list[LayerError]


def layer_errors(content: bytes, reference: bytes, inputs: Arrays) -> list[LayerError]:
    """Return the errors of all operators whose outputs are integers, in the network's order.

    Args:
        content: an integer TFLite file.
        reference: a float TFLite file of the same model.
        inputs: by name, of the examples to run.

    Raises:
        ValueError: the files are not of one model, or cannot be run.
    """
    exact, rounded = Trace(reference), Trace(content)
    memory = {int(operator.inputs[state]) for _, operator in lstm.operators(rounded.model)
              for state in (lstm.HIDDEN, lstm.CELL)}  # what is written into it before is not what stands in it behind
    matched = [(one, other) for one, other in pairs(exact, rounded)
               if rounded.is_quantized(other.output) and other.output not in memory]
    integers = sum(rounded.is_quantized(step.output) and step.output not in memory for step in rounded.steps)
    if len(matched) * 2 < integers:
        raise ValueError("the two files do not seem to be of one model: "
                         f"only {len(matched)} of {integers} operators correspond")
    sums = _summed(exact, rounded, matched, inputs)
    noise_of: dict[int, float] = {}
    errors = []
    for one, other in matched:
        total = sums[one.number]
        noise_of[other.output] = total.noise_to_signal
        before = max((noise_of.get(rounded.source(tensor), 0.0) for tensor in other.inputs), default=0.0)
        errors.append(LayerError(
            number=one.number, operator=one.operator, name=tflite_file.layer_name(one.name).partition(":")[0],
            shape=one.shape, sqnr=total.sqnr, added=round(max(0.0, total.noise_to_signal - before), 8),
            error_over_scale=round(total.rms_error / rounded.scale(other.output), 4),
            saturated=round(total.saturated / total.count, 6), crest=round(total.crest, 2),
            weight_spread=_weight_spread(rounded, other), cut=round(total.cut, 6)))
    return errors


def _summed(exact: Trace, rounded: Trace, matched: Sequence[tuple[Step, Step]], inputs: Arrays) -> dict[int, _Sums]:
    """Run every example through both files; return the sums of each pair of operators by the first one's number."""
    sums = {one.number: _Sums() for one, _ in matched}
    lstms = {int(operator.outputs[0]): operator for _, operator in lstm.operators(exact.model)}
    for position in range(len(next(iter(inputs.values())))):
        example = {name: values[position:position + 1] for name, values in inputs.items()}
        exact.run(example)
        rounded.run(example)
        for one, other in matched:
            sums[one.number].add(exact.real(one.output), rounded.real(other.output), rounded.stored(other.output),
                                 rounded.scale(other.output))
            if one.operator == lstm.KIND:
                sums[one.number].cuts.append(gates.cut_off(exact, lstms[one.output]))
    return sums


def worst(errors: Sequence[LayerError], count: int = 3) -> list[LayerError]:
    """Return the operators that add most noise, the worst first."""
    return sorted((one for one in errors if one.added > 0), key=lambda one: -one.added)[:count]


def advice(one: LayerError) -> str:
    """Return what to try for an operator that adds much noise, in words of a recipe."""
    where = f"operator {one.number}, {one.name} ({one.operator})"
    if one.cut > CUT:
        return (f"{where}: {one.cut:.1%} of what its inputs give its gates is beyond 8, where the integer kernel cuts "
                "it off before it adds the state's share. Train with smaller weights: optimizer: {adamw: 0.1}")
    if one.saturated > 0.01:
        return (f"{where}: {one.saturated:.1%} of its values are cut off at the end of its range. Calibrate with more "
                "examples, or such as it sees later: calibration: {examples: 1000, balanced: true}")
    if one.weight_spread > 8:
        return (f"{where}: one scale serves channels whose weights differ {one.weight_spread:.0f}-fold. Give each its "
                "own, per_channel: true, or let them have like ranges, equalize: true")
    if one.crest > 12:
        return (f"{where}: its largest value is {one.crest:.0f} times the usual one, so most of its 256 steps stand "
                "empty. Cut the range where it loses least, ranges: mse")
    if one.error_over_scale > 2:
        return (f"{where}: its error is {one.error_over_scale:.1f} steps of its scale, where rounding its output makes "
                "0.29: its weights want more bits. Train with the rounding, variant qat, or keep it in float, "
                f"keep_float: [{one.number}]")
    return (f"{where}: its 256 steps are too coarse for it. Train with the rounding, variant qat, or keep it in float, "
            f"keep_float: [{one.number}]")


def table(errors: Sequence[LayerError]) -> list[str]:
    """Return the errors as lines of a table."""
    width = max((len(one.name) for one in errors), default=4)
    lines = [f"{'':>4}  {'operator':<18}  {'layer':<{width}}  {'shape':<16}  {'SQNR dB':>7}  {'adds':>8}  "
             f"{'error/scale':>11}  {'saturated':>9}"]
    for one in errors:
        shape = " x ".join(map(str, one.shape))
        lines.append(f"{one.number:>4}  {one.operator:<18}  {one.name:<{width}}  {shape:<16}  {one.sqnr:>7.1f}  "
                     f"{one.added:>8.1e}  {one.error_over_scale:>11.2f}  {one.saturated:>9.2%}")
    return lines


class _Sums:
    """Sums over all values of an operator's output."""

    def __init__(self) -> None:
        self.signal = self.noise = self.saturated = 0.0
        self.count = 0
        self.largest = 0.0
        self.cuts: list[float] = []

    def add(self, exact: np.ndarray, rounded: np.ndarray, stored: np.ndarray, scale: float) -> None:
        limits, error = np.iinfo(stored.dtype), exact.astype(np.float64) - rounded
        above, below = (stored == limits.max) & (error > scale), (stored == limits.min) & (error < -scale)
        self.signal += float((exact.astype(np.float64) ** 2).sum())
        self.noise += float((error**2).sum())
        self.saturated += float((above | below).sum())
        self.count += exact.size
        self.largest = max(self.largest, float(np.abs(exact).max()))

    @property
    def noise_to_signal(self) -> float:
        return self.noise / max(self.signal, 1e-12)

    @property
    def sqnr(self) -> float:
        return round(min(PERFECT, -10 * math.log10(max(self.noise_to_signal, 1e-12))), 2)

    @property
    def cut(self) -> float:
        return sum(self.cuts) / max(len(self.cuts), 1)

    @property
    def rms_error(self) -> float:
        return math.sqrt(self.noise / self.count)

    @property
    def crest(self) -> float:
        return self.largest / max(math.sqrt(self.signal / self.count), 1e-12)


def _weight_spread(trace: Trace, step: Step) -> float:
    """Return how much the ranges of the weights differ from channel to channel where one scale serves all of them."""
    if step.operator not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 1.0
    tensor = trace.tensors[step.inputs[1]]
    weights = tflite_file.real(trace.model, tensor)
    if len(tflite_file.scales(tensor)) != 1 or weights is None:
        return 1.0
    if step.operator == "DEPTHWISE_CONV_2D":
        by_channel = weights.reshape(-1, weights.shape[-1]).T
    else:
        by_channel = weights.reshape(weights.shape[0], -1)
    ranges = np.abs(by_channel).max(axis=1)
    return round(float(ranges.max() / max(float(np.median(ranges)), 1e-12)), 2)
