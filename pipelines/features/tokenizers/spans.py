"""Where in a text its tokens stand: the characters of each, in a graph, whatever the tokenizer."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epy

from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.byte_bpe import ByteBpe, first_byte
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.pretrained import Pretrained
from pipelines.features.tokenizers.sentencepiece import SCORES, Bpe, SentencePiece
from pipelines.features.tokenizers.tokenizer import UNKNOWN, Tokenizer
from pipelines.features.tokenizers.trained import MARK
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.features.tokenizers.word import CHARACTERS, Word
from pipelines.features.tokenizers.wordpiece import INSIDE, WordPiece

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


#: What stands between the words of texts that have been cut before.
WHITE = " \t\n\v\f\r"


class Spans(NamedTuple):
    """Where tokens stand.

    Args:
        tokens: their numbers, int32 (tokens,).
        starts: the first character of each, int32 (tokens,), ascending; of a token that is a space, or the mark of one,
            alone, it may be that behind it.
        ends: the character behind its last one, int32 (tokens,).
    """

    tokens: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor


class _Units(NamedTuple):
    """What the tokens of a text are made of one behind the other, its letters or bytes.

    Args:
        sizes: units of each token, int32 (tokens,).
        firsts, behinds: the character that each is of, or begins before, and the one behind it, int32 (units,).
    """

    sizes: tf.Tensor
    firsts: tf.Tensor
    behinds: tf.Tensor


def knows(tokenizer: Tokenizer) -> bool:
    """Return whether it is known where a tokenizer's tokens stand; of a pretrained one once it has been trained."""
    if isinstance(tokenizer, Pretrained):
        return tokenizer.cut is None or knows(tokenizer.cutter)
    return type(tokenizer) in _UNITS


def spans(tokenizer: Tokenizer, text: tf.Tensor, learnt: Learnt, most: int) -> Spans:
    """Return where the first tokens of a text stand, counted in characters.

    Args:
        text: UTF-8, a string.
        most: tokens that are needed; more may be given.
    """
    tokens = tokenizer.tokens(text, learnt, most)
    cutter = tokenizer.cutter if isinstance(tokenizer, Pretrained) else tokenizer
    units = _UNITS[type(cutter)](cutter, code_points.of(text, most * CHARACTERS), tokens, learnt)
    behind = tf.cumsum(units.sizes)
    return Spans(tokens, tf.gather(units.firsts, behind - units.sizes), tf.gather(units.behinds, behind - 1))


def _of_characters(tokenizer: Character, points: tf.Tensor, tokens: tf.Tensor, learnt: Learnt) -> _Units:
    places = tf.range(tf.size(points))
    return _Units(tf.ones_like(tokens), places, places + 1)


def _of_words(tokenizer: Word, points: tf.Tensor, tokens: tf.Tensor, learnt: Learnt) -> _Units:
    points = code_points.lowered(points) if tokenizer.lower else points
    words = tokenizer.words(tf.strings.unicode_encode(points, "UTF-8"), tf.size(points))[:tf.size(tokens)]
    is_apart = code_points.kinds(points) == code_points.APART
    if isinstance(tokenizer, Whitespace):
        is_apart = tf.reduce_any(points[:, None] == tf.constant([ord(one) for one in WHITE]), axis=1)
    places = tf.cast(tf.where(~is_apart)[:, 0], tf.int32)
    return _Units(tf.strings.length(words, unit="UTF8_CHAR"), places, places + 1)


def _of_pieces_of_words(tokenizer: WordPiece, points: tf.Tensor, tokens: tf.Tensor, learnt: Learnt) -> _Units:
    points = code_points.lowered(points) if tokenizer.lower else points
    _, words = code_points.in_words(points)
    places = tf.cast(tf.where(code_points.kinds(points) != code_points.APART)[:, 0], tf.int32)
    begins = tf.gather(tf.constant([not name.startswith(INSIDE) for name in learnt.names]), tokens)
    # what is unknown is a word as a whole
    whole = tf.gather(tf.math.bincount(words, dtype=tf.int32), tf.cumsum(tf.cast(begins, tf.int32)) - 1)
    sizes = tf.gather(tf.constant([len(name.removeprefix(INSIDE)) for name in learnt.names]), tokens)
    return _Units(tf.where(tokens == UNKNOWN, whole, sizes), places, places + 1)


def _of_marked_pieces(tokenizer: SentencePiece | Bpe, points: tf.Tensor, tokens: tf.Tensor, learnt: Learnt) -> _Units:
    points = code_points.lowered(points) if tokenizer.lower else points
    is_apart = (code_points.kinds(points) == code_points.APART) | (points == ord(MARK))
    begins = ~is_apart & tf.concat([[True], is_apart[:-1]], axis=0)[:tf.size(points)]
    both = tf.stack([tf.where(begins, ord(MARK), 0), tf.where(is_apart, 0, points)], axis=1)
    kept, flat = tf.where(tf.reshape(both, [-1]) > 0)[:, 0], tf.reshape(both, [-1])
    firsts = tf.cast(kept // 2, tf.int32)
    names = learnt.names[len(learnt.names) - len(learnt.statistics[SCORES]):]
    letters = np.array(sorted({ord(name) for name in names if len(name) == 1} or {-1}), "int32")
    near = tf.minimum(tf.searchsorted(tf.constant(letters), tf.gather(flat, kept)), len(letters) - 1)
    # letters that are no pieces are in none, and one behind the other they are one token
    is_unknown = tf.gather(tf.constant(letters), near) != tf.gather(flat, kept)
    begins_unknown = is_unknown & ~tf.concat([[False], is_unknown[:-1]], axis=0)[:tf.size(kept)]
    run = tf.cumsum(tf.cast(begins_unknown, tf.int32)) - 1
    runs = tf.pad(tf.math.bincount(tf.boolean_mask(run, is_unknown), dtype=tf.int32), [[0, 1]])
    number = tf.cumsum(tf.cast(tokens == UNKNOWN, tf.int32), exclusive=True)
    sizes = tf.gather(tf.constant([len(name) for name in learnt.names]), tokens)
    sizes = tf.where(tokens == UNKNOWN, tf.gather(runs, tf.minimum(number, tf.size(runs) - 1)), sizes)
    return _Units(sizes, firsts, firsts + tf.cast(kept % 2, tf.int32))


def _of_bytes(tokenizer: ByteBpe, points: tf.Tensor, tokens: tf.Tensor, learnt: Learnt) -> _Units:
    special = first_byte(learnt)
    sizes = tf.constant([0] * special + [len(name) for name in learnt.names[special:]])
    bytes_of_each = tf.strings.length(tf.strings.unicode_encode(points[:, None], "UTF-8"))
    places = tf.repeat(tf.range(tf.size(points)), bytes_of_each)
    return _Units(tf.gather(sizes, tokens), places, places + 1)


_UNITS: dict[type, Callable[[Any, tf.Tensor, tf.Tensor, Learnt], _Units]] = {
    Character: _of_characters, Word: _of_words, Whitespace: _of_words, WordPiece: _of_pieces_of_words,
    SentencePiece: _of_marked_pieces, Bpe: _of_marked_pieces, ByteBpe: _of_bytes}
