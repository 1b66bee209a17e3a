"""Numbers: one real number, or a fixed row of them, per example."""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from etils import epy

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Number(Feature, name="number", shorthand="missing"):
    """A real number, or an array of them of a known shape, as the source has it.

    Of single numbers it learns the mean, the deviation and the median of the training split, missing ones left out.

    Args:
        missing: what a missing number, NaN, stands for: the mean or the median of the training split, or a number.
            Where it is not given, no number may be missing.
    """

    role, accepts = "values", ("number", "array")
    missing: Literal["mean", "median"] | float | None = None

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        shape = {"shape": [float(size or 0) for size in field.shape or ()]}
        if field.kind != "number":
            return Learnt(statistics=shape)
        numbers = np.fromiter(values, float)
        known = numbers[np.isfinite(numbers)]
        if not len(known):
            known = np.zeros(1)
        learnt = {"mean": known.mean(), "deviation": _deviation(known), "median": np.median(known)}
        stands = learnt[self.missing] if isinstance(self.missing, str) else self.missing
        if stands is not None:
            learnt["missing"] = stands
        return Learnt(statistics={**shape, **{name: [float(np.float32(value))] for name, value in learnt.items()}})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        shape = _shape(learnt)
        meaning = "real numbers" if shape else "a real number"
        missing = learnt.statistics.get("missing", [None])[0]
        if missing is not None:
            meaning += f", NaN where it is missing, which counts as {missing:.6g}"
        return Tensor(name=name, dtype="float32", shape=shape, meaning=meaning, missing=missing)

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return tf.ensure_shape(tf.cast(value, tf.float32), _shape(learnt))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        if np.isinf(value).any():
            return "has a value that is infinite"
        if self.missing is None and np.isnan(value).any():
            return "lacks a number that may not be missing: fill it in, or take the example out"
        return None

    def absent(self) -> float | None:
        return None if self.missing is None else float("nan")

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw a number as text, and several as a line."""
        if np.size(value) > 1:
            axes.plot(np.ravel(value))
            return
        axes.text(0.5, 0.5, self.in_words(value, learnt), ha="center", va="center")
        axes.axis("off")

    def properties(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return each example's number, or the mean of its numbers."""
        return {"mean": values.reshape(len(values), -1).mean(axis=1)} if values.ndim > 1 else {"value": values}

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        return f"{np.ravel(value)[0]:g}" if np.size(value) == 1 else ""


def _deviation(numbers: np.ndarray) -> float:
    """Return the standard deviation; 1 where it is no more than the rounding of float32."""
    deviation = float(numbers.std())
    return deviation if deviation > 1e-6 * abs(float(numbers.mean())) else 1.0


def _shape(learnt: Learnt) -> tuple[int | None, ...]:
    return tuple(int(size) or None for size in learnt.statistics.get("shape", []))
