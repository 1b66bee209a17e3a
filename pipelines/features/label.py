"""Labels: one class per example."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from etils import epy

from export.signature import Tensor
from pipelines.features.feature import Feature, Learnt

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Label(Feature, name="label"):
    """The class of an example, a whole number from 0; its names are the source's."""

    role, of_classes = "values", True
    accepts: ClassVar[tuple[str, ...]] = ("class",)

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int64", shape=(), meaning=f"the class, 0 to {len(learnt.names) - 1}")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return tf.cast(value, tf.int64)

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        if not 0 <= value < len(learnt.names):
            return f"has the label {value}, but there are {len(learnt.names)} classes, 0 to {len(learnt.names) - 1}"
        return None

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return labels (batch,) one-hot, float32 (batch, classes)."""
        return tf.one_hot(values, len(learnt.names))

    def counts(self, values: np.ndarray, learnt: Learnt) -> np.ndarray:
        return np.bincount(np.asarray(values, int), minlength=len(learnt.names))

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        axes.text(0.5, 0.5, self.in_words(value, learnt), ha="center", va="center")
        axes.axis("off")

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        return learnt.names[int(np.argmax(value)) if np.ndim(value) else int(value)]
