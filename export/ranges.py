"""Which real numbers the ranges of a file's integers were found with, and which examples lie outside of these."""
from __future__ import annotations

from etils import epy

from export.signature import Arrays

with epy.lazy_imports():
    import numpy as np

#: By input the smallest numbers of its columns, and the largest: of what its last axis has, but that of steps and of
#: samples, which are alike and one column.
Ranges = dict[str, list[list[float]]]


def seen(inputs: Arrays) -> Ranges:
    """Return the ranges of the real numbers among inputs; none of those that have a column without a number.

    Args:
        inputs: by name, (examples, …).
    """
    real = {name: _in_columns(values).reshape(-1, _columns(values)) for name, values in inputs.items()
            if values.dtype.kind == "f"}
    return {name: [np.nanmin(values, axis=0).tolist(), np.nanmax(values, axis=0).tolist()]
            for name, values in real.items() if not np.isnan(values).all(axis=0).any()}


def outside(ranges: Ranges, inputs: Arrays) -> np.ndarray | None:
    """Return for each example whether one of its inputs lies outside of its range, (examples,); None where no range is
    known. What is missing lies in every range."""
    known = [name for name in ranges if name in inputs]
    if not known:
        return None
    beyond = []
    for name in known:
        values = _in_columns(inputs[name])
        low, high = (np.asarray(limit, "float32") for limit in ranges[name])
        beyond.append(((values < low) | (values > high)).any(axis=(1, 2)))
    return np.any(beyond, axis=0)


def _in_columns(values: np.ndarray) -> np.ndarray:
    """Return (examples, numbers, columns)."""
    return np.reshape(values, (len(values), -1, _columns(values)))


def _columns(values: np.ndarray) -> int:
    return values.shape[-1] if values.ndim > 2 else 1
