"""Words as they stand between white space."""
from __future__ import annotations

from typing import Any

from etils import epy

from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.word import CHARACTERS, Word

with epy.lazy_imports():
    import tensorflow as tf


class Whitespace(Word, name="whitespace", shorthand="most"):
    """Words as they stand between spaces, tabs and line breaks: texts have been cut before."""

    def words(self, text: tf.Tensor, most: int) -> tf.Tensor:
        """Return the words within a text's first characters, string (words,)."""
        points = code_points.of(text, most)
        points = code_points.lowered(points) if self.lower else points
        return tf.strings.split(tf.strings.unicode_encode(points, "UTF-8"))

    def described(self, learnt: Learnt) -> dict[str, Any]:
        return {"kind": "whitespace", "lower": self.lower, "characters_per_token": CHARACTERS}
