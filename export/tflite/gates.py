"""What an LSTM operator's gates are made of, and what of it its integer kernel cuts off."""
from __future__ import annotations

from typing import Any

from etils import epy

from export.tflite import file as tflite_file
from export.tflite import lstm
from export.tflite.trace import Trace

with epy.lazy_imports():
    import numpy as np

#: How far the integer kernel's 16 bits reach, three of them before the point.
REACH = 8.0


def weights(trace: Trace, operator: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights of an LSTM operator in a float32 file, gate by gate: of what comes in, what stays, the cell
    and what goes out. Zeros stand where there are none, or they were taken for a state.

    Returns:
        For the sequence, (4, units, features), for the state, (4, units, units), and biases, (4, units).
    """
    values = [tflite_file.constant(trace.model, trace.tensors[int(number)]) if number >= 0 else None
              for number in operator.inputs]
    shapes = [tflite_file.shape(trace.tensors[int(number)]) for number in operator.inputs]
    filled = [np.zeros(shape, np.float32) if value is None else value
              for value, shape in zip(values, shapes, strict=True)]
    first, second, bias = lstm.KERNELS.start, lstm.RECURRENT.start, lstm.BIASES.start
    return np.stack(filled[first:first + 4]), np.stack(filled[second:second + 4]), np.stack(filled[bias:bias + 4])


def cut_off(trace: Trace, operator: Any) -> float:
    """Return the share of what its input gives an LSTM's gates that lies beyond -8 to 8, in a float32 file that has run
    an example.

    The integer kernel adds up a gate in 16 bits that reach so far: first what its input gives, then what its state
    does. What the first is beyond is cut off, even where the second would bring it back.
    """
    kernels, _, biases = weights(trace, operator)
    given = trace.real(int(operator.inputs[0]))[0]
    sums = np.einsum("tf,guf->tgu", given, kernels) + biases
    return float((np.abs(sums) > REACH).mean())
