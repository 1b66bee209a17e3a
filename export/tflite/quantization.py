"""Real numbers and the integers that stand for them: real = (stored - zero) * scale; the scale is 0 where none do."""
from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import numpy as np


def to_tensor(values: np.ndarray, dtype: Any, scale: float, zero: int) -> np.ndarray:
    """Return real numbers as a tensor stores them: rounded half to even and cut off at the ends of its type.

    Args:
        dtype: of the tensor, an integer's where there is a scale.
    """
    if not scale:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(dtype)


def to_real(stored: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """Return what the numbers of a tensor stand for, as float32; what has no scale as it is."""
    return (stored.astype(np.float32) - zero) * np.float32(scale) if scale else stored
