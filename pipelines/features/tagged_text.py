"""A text whose words have tags: its tokens are these words, or pieces of them, of which the first has a word's tag."""
from __future__ import annotations

from collections.abc import Mapping

from etils import epy
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.features.feature import Feature, Learnt
from pipelines.features.tags import NOTHING
from pipelines.features.text import Words
from pipelines.features.tokenizers import code_points, spans
from pipelines.features.tokenizers.spans import WHITE
from pipelines.features.tokenizers.tokenizer import Tokenizer
from pipelines.features.tokenizers.word import CHARACTERS

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class TaggedText(Words):
    """A text whose words, which stand between spaces, have tags, as the numbers of its tokens.

    Args:
        field: what the source calls it; `text` where not given.
        tokenizer: whitespace, of which each token is a word; or what cuts words into pieces.
        length: tokens; what is behind them is cut off.
        ends: every text begins with token 2 and ends with token 3.
    """

    @field_validator("tokenizer")
    @classmethod
    def keeps_words(cls, value: Tokenizer) -> Tokenizer:
        if not spans.knows(value):
            raise PydanticCustomError("tokenizer", "must be whitespace, or cut words into pieces: there is a tag for "
                                      "each word between spaces")
        return value


class FirstPieces(TaggedText):
    """Where the first token of each word stands; its settings are those of the text."""

    counted = False

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        return self

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int32", shape=(self.length,),
                      meaning=f"where each word's first token stands; {NOTHING} of words that have none")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the places of the words' first tokens, int32 (length,): NOTHING of a word that is cut off, and behind
        the last."""
        known = spans.spans(self.tokenizer, value, learnt, self.length)
        starts, ends = _words(code_points.of(value, self.length * CHARACTERS))
        count = tf.minimum(tf.size(known.tokens), self.length - 2 * self.ends)
        first = tf.searchsorted(known.ends, starts, side="right")
        is_there = first < count
        begins = tf.gather(tf.pad(known.starts, [[0, 1]]), tf.where(is_there, first, 0))
        places = tf.where(is_there & (begins < ends), first + int(self.ends), NOTHING)[:self.length]
        padded = tf.pad(places, [[0, self.length - tf.size(places)]], constant_values=NOTHING)
        return tf.ensure_shape(padded, [self.length])

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the places as they are."""
        return values

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        """Return nothing: places say nothing for themselves."""
        return ""


def _words(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first character of each word between white space, and the one behind it, int32 (words,)."""
    is_white = tf.reduce_any(points[:, None] == tf.constant([ord(one) for one in WHITE]), axis=1)
    padded = tf.concat([[True], is_white, [True]], axis=0)
    starts, ends = (tf.cast(tf.where(changed)[:, 0], tf.int32) for changed in (
        padded[:-1] & ~padded[1:], ~padded[:-1] & padded[1:]))
    return starts, ends
