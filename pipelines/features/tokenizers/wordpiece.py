"""Pieces of words as BERT cuts them."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etils import epy
from pydantic import Field as Setting

from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import code_points, pieces, trained
from pipelines.features.tokenizers.tokenizer import UNKNOWN, Tokenizer, together
from pipelines.features.tokenizers.trained import MARK
from pipelines.features.tokenizers.word import CHARACTERS

with epy.lazy_imports():
    import tensorflow as tf

#: Stands before pieces within a word.
INSIDE = "##"


class WordPiece(Tokenizer, name="wordpiece", shorthand="most"):
    """Pieces of words, the longest first, those within a word with ## before them: as BERT has it.

    Words are those of the tokenizer `word`. A word that begins with no piece, or is left with none on its way, is
    unknown as a whole (Wu et al., "Google's Neural Machine Translation System", 2016; Devlin et al., "BERT", 2019). The
    pieces are learnt by byte pair encoding, as most do whose vocabularies are called so.

    Args:
        most: pieces of the vocabulary.
        lower: capitals count as small letters.
    """

    most: int = Setting(8000, ge=10)
    lower: bool = True

    def learn(self, texts: Iterable[bytes], special: tuple[str, ...]) -> Learnt:
        lines = [b" ".join(code_points.words(self._points(tf.constant(some), len(some))).numpy().tolist()).decode()
                 for some in together(texts, b"\n")]
        if not lines:
            return Learnt(names=list(special))
        learnt = trained.learn(lines, "bpe", self.most).names
        names = [name.removeprefix(MARK) if name.startswith(MARK) else INSIDE + name for name in learnt if name != MARK]
        letters = sorted({letter for name in names for letter in name.removeprefix(INSIDE)})
        return Learnt(names=list(dict.fromkeys([*special, *letters, *(INSIDE + letter for letter in letters), *names])))

    def tokens(self, text: tf.Tensor, learnt: Learnt, most: int) -> tf.Tensor:
        points = self._points(text, most * CHARACTERS)
        points, words = code_points.in_words(points)
        begin = [name for name in learnt.names if not name.startswith(INSIDE)]
        inside = [name.removeprefix(INSIDE) for name in learnt.names if name.startswith(INSIDE)]
        first_matches, inside_matches = (pieces.positions(points, words, names) for names in (begin, inside))
        cut = pieces.longest_first(first_matches, inside_matches, words)
        starts = tf.cast(tf.where(cut > 0)[:, 0], tf.int32)
        sizes = tf.gather(cut, starts) - 1
        places = tf.stack([starts, tf.minimum(sizes, pieces.LONGEST - 1)], axis=1)
        is_first = tf.concat([[True], words[1:] != words[:-1]], axis=0)[:tf.size(words)]
        number_of = {name: number for number, name in enumerate(learnt.names)}
        numbers = tf.where(tf.gather(is_first, starts),
                           _numbered(first_matches, places, [number_of[name] for name in begin]),
                           _numbered(inside_matches, places, [number_of[INSIDE + name] for name in inside]))
        return tf.where(sizes < pieces.LONGEST, numbers, UNKNOWN)

    def text(self, tokens: Iterable[str]) -> str:
        return " ".join(tokens).replace(f" {INSIDE}", "")

    def texts(self, tokens: tf.Tensor) -> tf.Tensor:
        return tf.strings.regex_replace(super().texts(tokens), f" {INSIDE}", "")

    def described(self, learnt: Learnt) -> dict[str, Any]:
        return {"kind": "wordpiece", "lower": self.lower, "characters_per_token": CHARACTERS,
                "longest": pieces.LONGEST, "inside": INSIDE}

    def _points(self, text: tf.Tensor, most: int) -> tf.Tensor:
        points = code_points.of(text, most)
        return code_points.lowered(points) if self.lower else points


def _numbered(matches: tf.Tensor, places: tf.Tensor, numbers: list[int]) -> tf.Tensor:
    """Return the numbers of the pieces at places, UNKNOWN where there is none."""
    if not numbers:
        return tf.fill([tf.shape(places)[0]], UNKNOWN)
    position = tf.gather_nd(matches, places)
    return tf.where(position < 0, UNKNOWN, tf.gather(tf.constant(numbers, tf.int32), tf.maximum(position, 0)))
