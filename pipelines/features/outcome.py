"""Outcomes: the class of an example, whose names are the values that a column takes."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etils import epy

from pipelines.features import words
from pipelines.features.feature import Field, Learnt
from pipelines.features.label import Label

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class Outcome(Label, name="outcome"):
    """The class of an example, a text or whole number in a column; classes are numbered in the order of their names."""

    accepts = ("class", "text", "number")

    def learn(self, field: Field, values: Iterable[np.ndarray]) -> Learnt:
        numbered: dict[str, list[float]] = {"classes": [1.0]} if field.kind == "class" else {}
        return Learnt(names=field.names or [], statistics=numbered)

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        if "classes" in learnt.statistics:
            return tf.cast(value, tf.int64)
        text = value if value.dtype == tf.string else words.of_numbers(value)
        return tf.cast(words.positions(text, learnt.names), tf.int64)

    def class_of(self, value: Any, learnt: Learnt) -> int:
        return int(value) if "classes" in learnt.statistics else learnt.names.index(_text(value))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        if "classes" in learnt.statistics:
            return super().fault(value, learnt)
        text = _text(value)
        if not text:
            return "has no value of the target: fill it in, or take the row out"
        known = ", ".join(learnt.names)
        return None if text in learnt.names else f"has the class {text!r}, which is not one of {known}"


def _text(value: Any) -> str:
    """Return a raw value as `words.of_numbers` does in a graph."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if value != value:
        return ""
    return str(int(value)) if value == int(value) else str(value)
