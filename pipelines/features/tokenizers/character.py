"""Characters."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etils import epy
from pydantic import Field as Setting

from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.tokenizer import UNKNOWN, Tokenizer, most_frequent

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class Character(Tokenizer, name="character", shorthand="most"):
    """Characters, each a token, white space too.

    Args:
        most: characters of the vocabulary, the most frequent ones; rarer ones are unknown.
        min_count: how often a character must occur in the training texts.
        lower: capitals count as small letters.
    """

    most: int = Setting(1000, ge=1)
    min_count: int = Setting(1, ge=1)
    lower: bool = False

    def learn(self, texts: Iterable[bytes], special: tuple[str, ...]) -> Learnt:
        return most_frequent(texts, b"", self._points, _known, most=self.most, min_count=self.min_count,
                             special=special)

    def tokens(self, text: tf.Tensor, learnt: Learnt, most: int) -> tf.Tensor:
        points = self._points(text, most)
        known = np.array([ord(name) if len(name) == 1 else -1 for name in learnt.names], "int32")
        order = np.argsort(known, kind="stable").astype("int32")
        near = tf.minimum(tf.searchsorted(tf.constant(known[order]), points), len(known) - 1)
        same = tf.gather(tf.constant(known[order]), near) == points
        return tf.where(same, tf.gather(tf.constant(order), near), UNKNOWN)

    def text(self, tokens: Iterable[str]) -> str:
        return "".join(tokens)

    def texts(self, tokens: tf.Tensor) -> tf.Tensor:
        return tf.strings.reduce_join(tokens, axis=-1)

    def described(self, learnt: Learnt) -> dict[str, Any]:
        return {"kind": "character", "lower": self.lower}

    def _points(self, text: tf.Tensor, most: int) -> tf.Tensor:
        points = code_points.of(text, most)
        return code_points.lowered(points) if self.lower else points


def _known(point: int) -> str:
    """Return a character, and nothing where it stands for bytes that are not UTF-8."""
    return "" if point == code_points.REPLACEMENT else chr(point)
