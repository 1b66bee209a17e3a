"""Bias correction: what rounding shifts on average is taken out of the biases (Nagel et al. 2019, section 4.2)."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.conversion.calibration import one_by_one
from export.signature import Arrays
from export.tflite import file as tflite_file
from export.tflite.trace import Step, Trace, pairs

with epy.lazy_imports():
    import numpy as np

#: Examples that means are taken over; they settle long before.
EXAMPLES = 64
LINEAR = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def corrected(content: bytes, reference: bytes, inputs: Arrays) -> bytes:
    """Return an integer TFLite file with corrected biases.

    Layer by layer, from the first on, the mean of what a layer computes is made that of the float model: the means of
    its inputs, channel by channel, are put through the rounded weights and through those of the float model, and the
    difference is taken off the bias.

    Args:
        content: the integer file.
        reference: the float32 file of the same graph.
        inputs: of their main signature, by name: examples out of the training set.
    """
    inputs = {name: value[:EXAMPLES] for name, value in inputs.items()}
    exact = Trace(reference)
    model = tflite_file.read(content)
    expected = _input_means(exact, [step for step in exact.steps if step.operator in LINEAR], inputs)
    for before, step in pairs(exact, Trace(content)):
        if step.operator not in LINEAR or len(step.inputs) < 3 or step.inputs[2] < 0:
            continue
        trace = Trace(tflite_file.write(model))
        means = _input_means(trace, [step], inputs)[step.number]
        rounded = _mean_output(step.operator, _constant(trace, step.inputs[1]), means)
        original = _mean_output(step.operator, _constant(exact, before.inputs[1]), expected[before.number])
        _subtract(model, step, rounded - original)
    return tflite_file.write(model)


def _input_means(trace: Trace, steps: list[Step], inputs: Arrays) -> dict[int, np.ndarray]:
    """Return step number to the mean of its input over examples and positions, channel by channel."""
    sums: dict[int, Any] = {step.number: 0.0 for step in steps}
    count = 0
    for example in one_by_one(inputs):
        trace.run(example)
        count += 1
        for step in steps:
            values = trace.real(step.inputs[0])
            sums[step.number] = sums[step.number] + values.reshape(-1, values.shape[-1]).mean(axis=0)
    return {number: total / count for number, total in sums.items()}


def _constant(trace: Trace, tensor: int) -> np.ndarray:
    values = tflite_file.real(trace.model, trace.tensors[tensor])
    assert values is not None, "a layer's weights are constants"
    return values


def _mean_output(operator: str, weights: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return what a layer makes of the mean of its inputs, borders aside: (outputs,)."""
    if operator == "DEPTHWISE_CONV_2D":  # (1, height, width, channels * multiplier)
        return weights.sum(axis=(0, 1, 2)) * np.repeat(mean, weights.shape[-1] // len(mean))
    if operator == "FULLY_CONNECTED":  # (outputs, inputs)
        return weights @ (mean if len(mean) == weights.shape[1] else np.resize(mean, weights.shape[1]))
    return weights.sum(axis=(1, 2)) @ mean  # (outputs, height, width, inputs)


def _subtract(model: Any, step: Step, shift: np.ndarray) -> None:
    bias = model.subgraphs[0].tensors[step.inputs[2]]
    scales = np.resize(np.asarray(bias.quantization.scale, np.float64), len(shift))
    values = tflite_file.constant(model, bias)
    assert values is not None
    changed = np.clip(values.astype(np.int64) - np.round(shift / scales).astype(np.int64), -2**31, 2**31 - 1)
    model.buffers[bias.buffer].data = np.frombuffer(changed.astype(values.dtype).tobytes(), "uint8")
