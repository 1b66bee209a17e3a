"""Tags: a class for each token of a text."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field as Setting

from export.signature import Tensor
from pipelines.features import words
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.text import Text

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What stands behind the last tag, and is none.
NOTHING = -1


class Tags(Feature, name="tags"):
    """A tag for each token of the text beside it, such as B-place, I-place and O; tags stand between spaces.

    Args:
        length: tokens; the text's where not given.
    """

    role, accepts = "values", ("text",)
    length: int | None = Setting(None, ge=1)

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        text = next((other for other in others.values() if isinstance(other, Text)), None)
        return self if self.length or text is None else self.model_copy(update={"length": text.length})

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        names = {tag for value in field.names or [] for tag in value.split()}
        names |= {tag.decode(errors="replace") for value in values for tag in value.split()}
        return Learnt(names=sorted(names, key=lambda name: (name != "O", name)))

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int32", shape=(self.length,),
                      meaning=f"the tag of each token, 0 to {len(learnt.names) - 1}; {NOTHING} behind the last")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tags' numbers, int32 (length,)."""
        assert self.length is not None
        numbers = words.positions(tf.strings.split(value)[:self.length], learnt.names)
        padded = tf.pad(numbers, [[0, self.length - tf.shape(numbers)[0]]], constant_values=NOTHING)
        return tf.ensure_shape(padded, [self.length])

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        unknown = [tag.decode(errors="replace") for tag in value.split() if
                   learnt.names and tag.decode(errors="replace") not in learnt.names]
        return f"has the tag {unknown[0]}, which is not one of {', '.join(learnt.names)}" if unknown else None

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return tags (batch, length) one-hot, float32 (batch, length, classes), all 0 behind the last."""
        return tf.one_hot(values, len(learnt.names))

    def counts(self, values: np.ndarray, learnt: Learnt) -> np.ndarray:
        flat = np.ravel(values).astype(int)
        return np.bincount(flat[flat != NOTHING], minlength=len(learnt.names))

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        axes.text(0.5, 0.5, self.in_words(value, learnt), ha="center", va="center")
        axes.axis("off")

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        """Return how many tags there are that say something."""
        numbers = np.argmax(value, axis=-1)[np.sum(value, axis=-1) > 0] if np.ndim(value) == 2 else value
        said = [learnt.names[number] for number in np.asarray(numbers).tolist() if number != NOTHING]
        begun = [name for name in said if name.startswith("B-")]
        return f"{len(begun)} entities" if begun or "O" in said else " ".join(said[:3])
