"""Conditions: what a model is asked to make, a class."""
from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from etils import epy

from export.signature import Tensor
from pipelines.features.feature import Feature, Learnt

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The field of the classes where a recipe does not name another.
LABEL = "label"


class Condition(Feature, name="condition"):
    """The class that is asked for, as a number for each class: 1 for this one, 0 for the others.

    Real numbers, and not the class's own: integer files have no range for a number that only looks something up.

    Args:
        field: what the source calls the class; `label` where not given.
    """

    role = "values"
    accepts: ClassVar[tuple[str, ...]] = ("class",)

    def field_name(self, name: str) -> str:
        return self.field or LABEL

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="float32", shape=(len(learnt.names),),
                      meaning="1 for the class that is asked for, 0 for the others, in the order of labels.txt")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return a class one-hot, float32 (classes,)."""
        return tf.one_hot(tf.cast(value, tf.int64), len(learnt.names))

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        axes.text(0.5, 0.5, self.in_words(value, learnt), ha="center", va="center")
        axes.axis("off")

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        return learnt.names[int(np.argmax(value))]
