"""Numbers: one real number, or a fixed row of them, per example."""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Number(Feature, name="number"):
    """A real number, or an array of them of a known shape, as the source has it."""

    role, accepts = "values", ("number", "array")

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        return Learnt(statistics={"shape": [float(size or 0) for size in field.shape or ()]})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        shape = _shape(learnt)
        return Tensor(name=name, dtype="float32", shape=shape, meaning="real numbers" if shape else "a real number")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return tf.ensure_shape(tf.cast(value, tf.float32), _shape(learnt))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        return None if np.isfinite(value).all() else "has a value that is infinite, or not a number"

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw a number as text, and several as a line."""
        if np.size(value) > 1:
            axes.plot(np.ravel(value))
            return
        axes.text(0.5, 0.5, self.in_words(value, learnt), ha="center", va="center")
        axes.axis("off")

    def properties(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the mean of each example's numbers."""
        return {"mean": values.reshape(len(values), -1).mean(axis=1)}

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        return f"{np.ravel(value)[0]:g}" if np.size(value) == 1 else ""


def _shape(learnt: Learnt) -> tuple[int | None, ...]:
    return tuple(int(size) or None for size in learnt.statistics.get("shape", []))
