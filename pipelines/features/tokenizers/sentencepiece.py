"""Pieces of words with the spaces before them, as SentencePiece cuts them."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from etils import epy
from pydantic import Field as Setting

from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import code_points, pieces, trained
from pipelines.features.tokenizers.tokenizer import UNKNOWN, Tokenizer, together
from pipelines.features.tokenizers.trained import MARK
from pipelines.features.tokenizers.word import CHARACTERS

with epy.lazy_imports():
    import tensorflow as tf

#: A character that is no piece counts as so much less likely than the rarest piece, as in the library.
PENALTY = 10.0
SCORES = "scores"
#: Between texts that are learnt from.
LINE = "\n"


class InPieces(Tokenizer):
    """What tokenizers have in common that cut words, with the space before each, into pieces.

    Args:
        most: pieces of the vocabulary.
        lower: capitals count as small letters.
    """

    most: int = Setting(8000, ge=10)
    lower: bool = True
    algorithm: Literal["unigram", "bpe"]

    def learn(self, texts: Iterable[bytes], special: tuple[str, ...]) -> Learnt:
        known = list(texts)
        if not known:
            return Learnt(names=list(special), statistics={SCORES: []})
        learnt = trained.learn(self._spaced(known), self.algorithm, self.most)
        return Learnt(names=[*special, *learnt.names], statistics={SCORES: learnt.scores})

    def tokens(self, text: tf.Tensor, learnt: Learnt, most: int) -> tf.Tensor:
        points, words = self._marked(self._points(text, most * CHARACTERS))
        scores = learnt.statistics[SCORES]
        special = len(learnt.names) - len(scores)
        if not scores:
            return tf.fill([tf.minimum(tf.size(points), 1)], UNKNOWN)
        matches = pieces.positions(points, words, learnt.names[special:])
        cut = self.cut(matches, tf.constant(scores, tf.float32), words)
        starts = tf.where(cut > 0)[:, 0]
        places = tf.stack([tf.cast(starts, tf.int32), tf.gather(cut, starts) - 1], axis=1)
        number = tf.gather_nd(matches, places)
        number = tf.where(number < 0, UNKNOWN, number + special)
        again = tf.concat([[False], (number[1:] == UNKNOWN) & (number[:-1] == UNKNOWN)], axis=0)
        return tf.boolean_mask(number, ~again[:tf.size(number)])

    def cut(self, matches: tf.Tensor, scores: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        """Return the cut of words into pieces, see `pieces`."""
        raise NotImplementedError

    def text(self, tokens: Iterable[str]) -> str:
        return "".join(tokens).replace(MARK, " ").strip()

    def texts(self, tokens: tf.Tensor) -> tf.Tensor:
        return tf.strings.strip(tf.strings.regex_replace(tf.strings.reduce_join(tokens, axis=-1), MARK, " "))

    def described(self, learnt: Learnt) -> dict[str, Any]:
        return {"kind": str(self.entry_name), "lower": self.lower, "characters_per_token": CHARACTERS,
                "longest": pieces.LONGEST, SCORES: learnt.statistics[SCORES]}

    def _points(self, text: tf.Tensor, most: int) -> tf.Tensor:
        points = code_points.of(text, most)
        return code_points.lowered(points) if self.lower else points

    def _marked(self, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the characters of words alone, a mark before each word, and the number of the word that each is
        in."""
        apart = _apart(points)
        begins = ~apart & tf.concat([[True], apart[:-1]], axis=0)[:tf.size(points)]
        both = tf.stack([tf.where(begins, ord(MARK), 0), tf.where(apart, 0, points)], axis=1)
        words = tf.repeat(tf.cumsum(tf.cast(begins, tf.int32)) - 1, 2)
        flat = tf.reshape(both, [-1])
        return tf.boolean_mask(flat, flat > 0), tf.boolean_mask(words, flat > 0)

    def _spaced(self, texts: Iterable[bytes]) -> Iterator[str]:
        """Give lines of texts as the library learns from them."""
        for some in together(texts, LINE.encode()):
            points = self._points(tf.constant(some), len(some))
            spaced = tf.where(_apart(points) & (points != ord(LINE)), code_points.SPACE, points).numpy()
            yield from (line for line in code_points.string(spaced).split(LINE) if line.strip())


def _apart(points: tf.Tensor) -> tf.Tensor:
    """Return which characters stand between words: the mark does, too."""
    return (code_points.kinds(points) == code_points.APART) | (points == ord(MARK))


class SentencePiece(InPieces, name="sentencepiece", shorthand="most"):
    """Pieces of words, cut as is likeliest: the unigram model of SentencePiece.

    Kudo, "Subword Regularization: Improving Neural Network Translation Models with Multiple Subword Candidates", 2018;
    Kudo and Richardson, "SentencePiece", 2018.
    """

    algorithm: Literal["unigram"] = "unigram"

    def cut(self, matches: tf.Tensor, scores: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        return pieces.likeliest(matches, scores, tf.reduce_min(scores) - PENALTY, words)


class Bpe(InPieces, name="bpe", shorthand="most"):
    """Pieces of words by byte pair encoding: frequent pairs of neighbours have become one.

    Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units", 2016, as SentencePiece
    has it.
    """

    algorithm: Literal["bpe"] = "bpe"

    def cut(self, matches: tf.Tensor, scores: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        return pieces.merged(matches, scores, words)
