"""Words."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etils import epy
from pydantic import Field as Setting

from pipelines.features import words
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.tokenizer import UNKNOWN, Tokenizer, most_frequent, own_tokens

with epy.lazy_imports():
    import tensorflow as tf

#: Characters that are looked at for each token that is needed.
CHARACTERS = 64


class Word(Tokenizer, name="word", shorthand="most"):
    """Words, and punctuation apart from them: runs of letters, marks and digits, and every other character that is not
    white space.

    Args:
        most: words of the vocabulary, the most frequent ones; rarer ones are unknown.
        min_count: how often a word must occur in the training texts.
        lower: capitals count as small letters.
    """

    most: int = Setting(10_000, ge=1)
    min_count: int = Setting(2, ge=1)
    lower: bool = True

    def learn(self, texts: Iterable[bytes], special: tuple[str, ...]) -> Learnt:
        return most_frequent(texts, b"\n", self.words, bytes.decode, most=self.most, min_count=self.min_count,
                             special=special)

    def words(self, text: tf.Tensor, most: int) -> tf.Tensor:
        """Return the words within a text's first characters, string (words,)."""
        points = code_points.of(text, most)
        return code_points.words(code_points.lowered(points) if self.lower else points)

    def tokens(self, text: tf.Tensor, learnt: Learnt, most: int) -> tf.Tensor:
        special = own_tokens(learnt.names)
        position = words.positions(self.words(text, most * CHARACTERS)[:most], learnt.names[special:])
        return tf.where(position < 0, UNKNOWN, position + special)

    def described(self, learnt: Learnt) -> dict[str, Any]:
        return {"kind": "word", "lower": self.lower, "characters_per_token": CHARACTERS}
