"""Texts with tokens that are to be guessed: what is read, where they are, and what stood there."""
from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epy
from pydantic import Field as Setting

from export.signature import Tensor
from pipelines.features import masking
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.text import Text
from pipelines.features.tokenizers.mask import MASK, MASK_NAME
from pipelines.features.tokenizers.tokenizer import END, ENDS, SPECIAL, START, UNKNOWN, Tokenizer
from pipelines.features.tokenizers.wordpiece import INSIDE, WordPiece

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: In a user's own text, what stands where a token is to be guessed.
BLANK = "___"
#: Of a text's seed; the other number is the hash of its characters, below this.
SEED, HASHES = 7, 2**31 - 1
#: At the beginning of pieces that begin a word, as SentencePiece has it.
SPACE = "\u2581"


class MaskedText(Text, name="masked_text", shorthand="tokenizer"):
    """A text some of whose tokens are hidden: token 4 stands there, or any other token, or the token itself.

    Which they are depends on the text alone, so that figures are those of the same guesses each time; in training they
    are drawn anew in each epoch.

    Args:
        field: what the source calls it; `text` where not given.
        tokenizer: how text is cut.
        length: tokens; what is behind them is cut off.
        ends: every text begins with token 2 and ends with token 3.
        share: of a text's tokens that are to be guessed.
        whole_words: all pieces of a word are hidden, or none.
    """

    tokenizer: Tokenizer = WordPiece()
    ends: bool = True
    share: float = Setting(0.15, gt=0, le=0.5)
    whole_words: bool = False

    @property
    def guesses(self) -> int:
        """Return how many tokens of a text can be guessed at once."""
        return math.ceil(self.share * self.length)

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        return _learnt(self.tokenizer, tuple(bytes(value) for value in values))

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens that are read, int32 (length,)."""
        return self.drawn(value, learnt).tokens[0]

    def cut(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens of a text with nothing hidden, int32 (length,); a mask that is written in it is
        unknown."""
        tokens = super().decode(value, learnt)
        return tf.where(tokens == MASK, UNKNOWN, tokens)

    def drawn(self, value: tf.Tensor, learnt: Learnt) -> masking.Guesses:
        """Return a text's guesses, a batch of one; the features that share them make them once in a graph."""
        statistics = tuple((name, tuple(values)) for name, values in learnt.statistics.items())
        return _drawn(tf.convert_to_tensor(value).ref(), MaskedText(**dict(self)), tuple(learnt.names), statistics)

    def drawn_of(self, tokens: tf.Tensor, seed: tf.Tensor, learnt: Learnt) -> masking.Guesses:
        """Return guesses of tokens, int32 (batch, length), by a seed of two numbers."""
        begins = tf.constant(begins_word(learnt.names)) if self.whole_words else None
        return masking.draw(tokens, seed, share=self.share, guesses=self.guesses, vocabulary=len(learnt.names),
                            begins=begins)

    def blanked(self, value: tf.Tensor, learnt: Learnt) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the tokens of a text with masks where it has blanks, "in the ___ god created", int32 (length,), and
        their places, int32 (guesses,), 0 behind the last."""
        parts = tf.strings.split(value[None], BLANK)[0]
        cut = tf.map_fn(lambda part: self.tokenizer.tokens(part, learnt, self.length)[:self.length], parts,
                        fn_output_signature=tf.RaggedTensorSpec([None], tf.int32, 0))
        cut = tf.concat([cut, tf.fill([tf.size(parts), 1], MASK)], axis=1).values[:-1]
        cut = cut[:self.length - 2 * self.ends]
        tokens = tf.concat([[START], cut, [END]], axis=0) if self.ends else cut
        tokens = tf.ensure_shape(tf.pad(tokens, [[0, self.length - tf.size(tokens)]]), [self.length])
        places = tf.cast(tf.where(tokens == MASK)[:self.guesses, 0], tf.int32)
        return tokens, tf.ensure_shape(tf.pad(places, [[0, self.guesses - tf.size(places)]]), [self.guesses])


class BlankedText(MaskedText):
    """A user's own text, in which blanks are to be guessed and nothing else is hidden."""

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return self.blanked(value, learnt)[0]


class MaskedPlaces(MaskedText, name="masked_places"):
    """Where the tokens of a text stand that are to be guessed, counted from 0; its settings are those of what is
    read."""

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        return beside_text(self, others)

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int32", shape=(self.guesses,), role="tokens",
                      meaning=f"where tokens are to be guessed: 0 to {self.length - 1}, and 0 behind the last")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return self.drawn(value, learnt).places[0]


class OriginalTokens(MaskedText, name="original_tokens"):
    """The tokens that are to be guessed; its settings are those of what is read."""

    counted = False

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        return beside_text(self, others)

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return super().tensor(name, learnt).model_copy(update={"shape": (self.guesses,)})

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return self.drawn(value, learnt).originals[0]

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens as they are: one-hot they would fill the pipeline."""
        return values


def beside_text(feature: MaskedText, others: Mapping[str, Feature]) -> Feature:
    """Return a feature with the settings of the text that is read."""
    read = next((one for one in others.values() if type(one) is MaskedText), None)
    return feature if read is None else feature.model_copy(update=dict(read))


def begins_word(names: Iterable[str]) -> np.ndarray:
    """Return of each token whether a word begins with it, bool (vocabulary,): pieces say it by what they begin with,
    and other tokens are words."""
    listed = list(names)
    if any(name.startswith(SPACE) for name in listed):
        return np.array([name.startswith(SPACE) for name in listed])
    return np.array([not name.startswith(INSIDE) for name in listed])


@functools.lru_cache(maxsize=4)
def _drawn(value: Any, text: MaskedText, names: tuple[str, ...],
           statistics: tuple[tuple[str, tuple[float, ...]], ...]) -> masking.Guesses:
    """Return the guesses of a text, given by its reference, by a seed that is made of the text."""
    learnt = Learnt(names=list(names), statistics={name: list(values) for name, values in statistics})
    seed = tf.stack([SEED, tf.cast(tf.strings.to_hash_bucket_fast(value.deref(), HASHES), tf.int32)])
    return text.drawn_of(text.cut(value.deref(), learnt)[None], seed, learnt)


@functools.lru_cache(maxsize=2)
def _learnt(tokenizer: Tokenizer, texts: tuple[bytes, ...]) -> Learnt:
    """Return the vocabulary of texts, learnt once for the features that share it."""
    return tokenizer.learn(texts, (*SPECIAL, *ENDS, MASK_NAME))
