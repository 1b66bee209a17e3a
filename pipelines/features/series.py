"""Series: several variables over a fixed number of steps."""
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


class Series(Feature, name="series"):
    """Real numbers, (steps, variables), in their own units.

    It learns the mean and the deviation of each variable on the training split. Models scale by them, so that every
    file takes and gives raw values.
    """

    role, accepts = "values", ("array",)

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        shape = [float(size or 0) for size in field.shape or ()]
        count, total, squares = 0, np.zeros(int(shape[-1])), np.zeros(int(shape[-1]))
        shift = None
        for value in values:
            rows = np.asarray(value, float).reshape(-1, int(shape[-1]))
            shift = rows[0] if shift is None else shift
            count += len(rows)
            total += (rows - shift).sum(axis=0)
            squares += ((rows - shift)**2).sum(axis=0)
        if shift is None:
            return Learnt(statistics={"shape": shape})
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        deviation = np.where(deviation > 1e-6 * np.abs(mean + shift), deviation, 1.0)
        return Learnt(statistics={"shape": shape, "mean": _float32(mean + shift), "deviation": _float32(deviation)})

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="float32", shape=_shape(learnt),
                      meaning="(steps, variables), in the units of the data")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return tf.ensure_shape(tf.cast(value, tf.float32), _shape(learnt))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        if np.isfinite(value).all():
            return None
        return "has a value that is missing (NaN) or infinite: fill it in, or let the source do it with fill"

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Draw each variable as a line, in its deviations from its mean."""
        known = learnt.statistics
        scaled = (value - known["mean"]) / known["deviation"] if "mean" in known else value
        axes.plot(scaled, linewidth=0.8)
        axes.tick_params(labelsize=5)

    def properties(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the mean and the deviation over steps and variables."""
        rows = values.reshape(len(values), -1)
        return {"mean": rows.mean(axis=1), "deviation": rows.std(axis=1)}


def _shape(learnt: Learnt) -> tuple[int, ...]:
    return tuple(int(size) for size in learnt.statistics["shape"])


def _float32(values: np.ndarray) -> list[float]:
    return [float(np.float32(value)) for value in values]
