"""Texts as GPT-2 reads them: bytes, each with a character that stands for it, in words that no pair reaches beyond.

Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; the words are those of its encoder.py:
's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+
"""
from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from etils import epy

from pipelines.features.tokenizers import code_points

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What a character is: none of the others, a letter, a number, or white space.
OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
#: Unicode's white space, which is not what Python's `isspace` says.
SPACES = (*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
#: What follows an apostrophe in a word of its own: one letter, or two.
ONE, TWO = "stmd", ("re", "ve", "ll")
#: Bytes that stand for themselves; a character behind all bytes stands for each other one.
VISIBLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
BYTES = 256


class Classes(NamedTuple):
    """What all characters are.

    Args:
        starts: the first of each run of characters of one class, ascending from 0, int32 (runs,).
        kinds: of each run, OTHER, LETTER, NUMBER or SPACE, int32 (runs,).
    """

    starts: np.ndarray
    kinds: np.ndarray


@functools.cache
def classes() -> Classes:
    """Return the table of this Python's Unicode."""
    of_category = {"L": LETTER, "N": NUMBER}
    kinds = np.fromiter((of_category.get(unicodedata.category(chr(point))[0], OTHER)
                         for point in range(code_points.COUNT)), "int32", code_points.COUNT)
    kinds[list(SPACES)] = SPACE
    starts = np.flatnonzero(np.diff(kinds, prepend=-1)).astype("int32")
    return Classes(starts, kinds[starts])


@functools.cache
def alphabet() -> tuple[str, ...]:
    """Return the character that stands for each byte."""
    hidden = [byte for byte in range(BYTES) if byte not in VISIBLE]
    return tuple(chr(BYTES + hidden.index(byte) if byte in hidden else byte) for byte in range(BYTES))


def text(tokens: Iterable[str]) -> str:
    """Return the text that tokens in the alphabet make; REPLACEMENT stands for bytes that are not UTF-8."""
    byte_of = {character: byte for byte, character in enumerate(alphabet())}
    return bytes(byte_of[character] for token in tokens for character in token).decode(errors="replace")


def texts(tokens: tf.Tensor) -> tf.Tensor:
    """Return the same in a graph, from string (batch, tokens) to string (batch,)."""
    table = [b""] * (BYTES + BYTES - len(VISIBLE))
    for byte, character in enumerate(alphabet()):
        table[ord(character)] = bytes([byte])
    points = tf.strings.unicode_decode(tf.strings.reduce_join(tokens, axis=-1), "UTF-8")
    joined = tf.strings.reduce_join(tf.gather(tf.constant(table), points).to_tensor(""), axis=-1)
    return tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8", errors="replace")


def in_words(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the bytes of characters, int32 (bytes,), and the number of the word that each is in, ascending."""
    words = tf.cumsum(tf.cast(_begins(points), tf.int32)) - 1
    sizes = 1 + sum(tf.cast(points >= first, tf.int32) for first in (0x80, 0x800, 0x10000))
    content = tf.io.decode_raw(tf.strings.unicode_encode(points, "UTF-8"), tf.uint8)
    return tf.cast(content, tf.int32), tf.repeat(words, sizes)


def _begins(points: tf.Tensor) -> tf.Tensor:
    """Return which characters words begin with.

    A run of one class is a word, with the space before it. Of white space before other characters the last one is not
    in a word with the others.
    """
    starts, kinds = classes()
    kind = tf.gather(tf.constant(kinds), tf.searchsorted(tf.constant(starts), points, side="right") - 1)
    before, behind = _shifted(kind, 1, -1), _shifted(kind, -1, -1)
    in_space = (before != SPACE) | ((behind != SPACE) & (behind >= 0))
    begins = tf.where(kind == SPACE, in_space, (kind != before) & (_shifted(points, 1, 0) != code_points.SPACE))
    apostrophe = begins & (points == ord("'"))
    first, second = _shifted(points, -1, 0), _shifted(points, -2, 0)
    one = apostrophe & tf.reduce_any(first[:, None] == tf.constant([ord(letter) for letter in ONE]), axis=1)
    pairs = [(first == ord(letters[0])) & (second == ord(letters[1])) for letters in TWO]
    two = apostrophe & functools.reduce(tf.logical_or, pairs)
    within = _shifted(one | two, 1, False)
    return (begins & ~within) | _shifted(one, 2, False) | _shifted(two, 3, False)


def _shifted(values: tf.Tensor, count: int, fill: int | bool) -> tf.Tensor:
    """Return values moved to the right, or to the left by a count below 0."""
    filled = tf.fill([abs(count)], tf.cast(fill, values.dtype))
    if count > 0:
        return tf.concat([filled, values], axis=0)[:tf.size(values)]
    return tf.concat([values, filled], axis=0)[-count:]
