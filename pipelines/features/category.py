"""Categories: one word of a vocabulary per example."""
from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field as Setting

from export.signature import Tensor
from pipelines.features import words
from pipelines.features.feature import Feature, Field, Learnt

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What stands at position 0, and what a server is sent for it: any text that is not in the vocabulary. In parentheses
#: more where that is a word of its own.
UNKNOWN = "(unknown)"
#: How a missing value is spelled.
MISSING = ""


class Category(Feature, name="category", shorthand="most"):
    """A word, by its position in the vocabulary of the training split: the most frequent first, from 1 on.

    Position 0 is for words that are not in it; a model gives it what rare words have taught it, or else the mean of the
    others. A missing value is a word like any other, the empty one: where some are
    missing in training it has a position of its own, else it is unknown. Whole numbers are words too: 7 is "7".

    Args:
        most: words of the vocabulary; rarer ones are unknown.
        min_count: training examples that a word must occur in; the position for unknown words learns from the others.
    """

    role, accepts = "values", ("text", "class", "number")
    most: int = Setting(1000, ge=1)
    min_count: int = Setting(2, ge=1)

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        if field.kind == "class":
            return Learnt(names=_vocabulary(field.names or []), statistics={"classes": [1.0]})
        raw = list(values)
        texts = [] if not raw else _texts(tf.constant(np.asarray(raw))).numpy().tolist()
        counts = collections.Counter(text.decode(errors="replace") for text in texts)
        frequent = sorted((-count, word) for word, count in counts.items() if count >= self.min_count)
        return Learnt(names=_vocabulary([word for _, word in frequent[:self.most]]))

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        words = learnt.names
        missing = words.index(MISSING) if MISSING in words else 0
        return Tensor(name=name, dtype="int32", shape=(), words=tuple(words),
                      meaning=f"position in the vocabulary, 0 to {len(words) - 1}; 0 where the word is not in it, "
                              f"{missing} where it is missing")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return positions, int32, of one example or of a batch: of texts, numbers, or numbers of classes."""
        if "classes" in learnt.statistics and value.dtype != tf.string:
            return tf.cast(value, tf.int32) + 1
        return words.positions(_texts(value), learnt.names[1:]) + 1

    def sent(self, values: np.ndarray, learnt: Learnt) -> np.ndarray:
        """Return the words at positions, bytes (examples,)."""
        known = np.array([name.encode() for name in learnt.names], object)
        return known[values]

    def absent(self) -> bytes:
        return MISSING.encode()

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        axes.text(0.5, 0.5, self.in_words(value, learnt), ha="center", va="center")
        axes.axis("off")

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        return learnt.names[int(value)] or "(missing)"

    def properties(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the positions: frequent words are low."""
        return {"position": values}


def _vocabulary(words: Sequence[str]) -> list[str]:
    """Return words behind what stands for unknown ones."""
    unknown = UNKNOWN
    while unknown in words:
        unknown = f"({unknown})"
    return [unknown, *words]


def _texts(value: Any) -> tf.Tensor:
    return value if value.dtype == tf.string else words.of_numbers(value)
