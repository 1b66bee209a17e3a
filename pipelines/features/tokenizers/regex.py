"""Words as MediaPipe's TextClassifier cuts them."""
from __future__ import annotations

from typing import Any, Literal

from etils import epy
from pydantic import Field as Setting

from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.word import CHARACTERS, Word

with epy.lazy_imports():
    import tensorflow as tf

#: What stands between words.
DELIMITERS = r"[^\w\']+"
#: The characters of words.
WORDS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz'"


class Regex(Word, name="regex", shorthand="most"):
    """Words as MediaPipe's TextClassifier cuts them: runs of ASCII letters, digits, _ and '; all else is left out.

    Files for phones say so, with the vocabulary, and MediaPipe opens them. Words with capitals are other words.

    Args:
        most: words of the vocabulary, the most frequent ones; rarer ones are unknown.
        min_count: how often a word must occur in the training texts.
    """

    lower: Literal[False] = Setting(False, exclude=True)

    def words(self, text: tf.Tensor, most: int) -> tf.Tensor:
        """Return the words within a text's first characters, string (words,)."""
        points = code_points.of(text, most)
        known = tf.reduce_any(points[:, None] == tf.constant([ord(one) for one in WORDS]), axis=1)
        return tf.strings.split(tf.strings.unicode_encode(tf.where(known, points, code_points.SPACE), "UTF-8"))

    def described(self, learnt: Learnt) -> dict[str, Any]:
        return {"kind": "regex", "lower": self.lower, "characters_per_token": CHARACTERS, "delimiters": DELIMITERS}
