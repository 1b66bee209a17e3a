"""Arrays of numbers, whatever they mean."""
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


class Array(Feature, name="array", shorthand="dtype"):
    """Numbers of a known shape, in a type of their own.

    Args:
        dtype: of the numbers.
    """

    role, accepts = "values", ("number", "array")
    dtype: Literal["float32", "int32", "int64", "uint8", "int8", "bool"] = "float32"

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        return Learnt(statistics={"shape": [float(size or 0) for size in field.shape or ()]})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype=self.dtype, shape=_shape(learnt), meaning=f"{self.dtype} numbers")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return tf.ensure_shape(tf.cast(value, self.dtype), _shape(learnt))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        if np.asarray(value).dtype.kind == "f" and not np.isfinite(value).all():
            return "has a number that is infinite or not a number (NaN)"
        return None

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw numbers as a line, one behind the other."""
        axes.plot(np.ravel(value).astype(float), linewidth=0.8)


def _shape(learnt: Learnt) -> tuple[int, ...]:
    return tuple(int(size) for size in learnt.statistics["shape"])
