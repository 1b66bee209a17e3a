"""How far the cells of LSTMs reach. The converter's calibration notes what they hold after the last step alone, and
they may have held more before."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.conversion.calibration import Calibration, one_by_one
from export.tflite import gates, lstm
from export.tflite.trace import Trace

with epy.lazy_imports():
    import numpy as np

#: Examples that are computed at once.
TOGETHER = 64


def reached(calibrated: bytes, calibration: Calibration) -> dict[int, float]:
    """Return how far the cells of each LSTM in the main graph of a float32 file reach over all steps of the examples,
    by the number of the operator's output tensor.

    Args:
        calibrated: see `export.conversion.int8.calibrate`.
        calibration: examples of the main signature; those of others are left out.
    """
    trace = Trace(lstm.finished(calibrated))  # without memory, and so each example by itself
    operators = [operator for graph, operator in lstm.operators(trace.model) if graph is trace.model.subgraphs[0]]
    result = {int(operator.outputs[0]): 0.0 for operator in operators}
    for name, inputs in calibration:
        if name != trace.file.name:
            continue
        sequences: list[list[np.ndarray]] = []
        for example in one_by_one(inputs):
            trace.run(example)
            sequences.append([trace.real(int(operator.inputs[0]))[0] for operator in operators])
            if len(sequences) == TOGETHER:
                _widen(result, trace, operators, sequences)
                sequences = []
        if sequences:
            _widen(result, trace, operators, sequences)
    return result


def _widen(result: dict[int, float], trace: Trace, operators: list[Any], sequences: list[list[np.ndarray]]) -> None:
    for number, operator in enumerate(operators):
        output = int(operator.outputs[0])
        by_length: dict[int, list[np.ndarray]] = {}
        for one in sequences:
            by_length.setdefault(len(one[number]), []).append(one[number])
        for given in by_length.values():
            result[output] = max(result[output], largest_cell(np.stack(given), *gates.weights(trace, operator)))


def largest_cell(sequences: np.ndarray, kernels: np.ndarray, recurrent: np.ndarray, biases: np.ndarray) -> float:
    """Return the largest absolute value that an LSTM's cells have in any step.

    Args:
        sequences: (batch, time, features).
        kernels: of the gates for what comes in, what stays, the cell and what goes out, (4, units, features).
        recurrent: of the same gates, (4, units, units).
        biases: of the same gates, (4, units).
    """
    hidden = np.zeros((len(sequences), biases.shape[1]), np.float32)
    cell, largest = np.zeros_like(hidden), 0.0
    for step in sequences.transpose(1, 0, 2):
        sums = np.einsum("bf,guf->gbu", step, kernels) + np.einsum("bh,guh->gbu", hidden, recurrent) + biases[:, None]
        comes, stays, goes = (1 / (1 + np.exp(-np.clip(sums[number], -30, 30))) for number in (0, 1, 3))
        cell = stays * cell + comes * np.tanh(sums[2])
        hidden = goes * np.tanh(cell)
        largest = max(largest, float(np.abs(cell).max()))
    return largest
