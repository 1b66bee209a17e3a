"""Unicode's characters by their numbers, code points: what is a letter, and which is the small one of a capital.

Both are tables that a model carries, and not what a system's library says: versions of Unicode differ, and tokens must
be the same in training, on a server and on a phone.
"""
from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What a character is to words: it stands between them, is part of one, or is a word alone.
APART, PART, ALONE = 0, 1, 2
#: Stands for bytes that are not UTF-8.
REPLACEMENT = 0xFFFD
SPACE = 0x20
COUNT = 0x110000
#: Scripts that are written without spaces: each of their characters is a word.
UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3040, 0x30FF),
            (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
#: Bytes that a character takes at most.
MOST_BYTES = 4


class Tables(NamedTuple):
    """What is known of all characters.

    Args:
        starts: the first of each run of characters of one kind, ascending from 0, int32 (runs,).
        kinds: of each run, APART, PART or ALONE, int32 (runs,).
        capitals: characters that have a small one, ascending, int32 (capitals,).
        small: theirs, int32 (capitals,).
    """

    starts: np.ndarray
    kinds: np.ndarray
    capitals: np.ndarray
    small: np.ndarray


@functools.cache
def tables() -> Tables:
    """Return the tables of this Python's Unicode.

    Letters, marks and digits are parts of words; white space, control characters and what is not assigned stand between
    them; punctuation, symbols and the characters of scripts without spaces are words alone. A capital whose small
    letter is several characters keeps its size.
    """
    kinds = np.fromiter((_kind(unicodedata.category(chr(point))) for point in range(COUNT)), "int32", COUNT)
    for first, last in UNSPACED:
        within = kinds[first:last + 1]
        within[within == PART] = ALONE
    starts = np.flatnonzero(np.diff(kinds, prepend=-1)).astype("int32")
    pairs = [(point, ord(lower)) for point in range(COUNT)
             if len(lower := chr(point).lower()) == 1 and ord(lower) != point]
    capitals, small = np.array(pairs, "int32").T
    return Tables(starts, kinds[starts], capitals, small)


def _kind(category: str) -> int:
    if category[0] in "LMN":
        return PART
    return ALONE if category[0] in "PS" else APART


def of(text: tf.Tensor, most: int) -> tf.Tensor:
    """Return a text's first characters, int32 (characters,); REPLACEMENT stands for bytes that are not UTF-8.

    Args:
        text: UTF-8, a string.
        most: characters; what stands behind is not looked at, so that a text of any length takes no more time.
    """
    points = tf.strings.unicode_decode(tf.strings.substr(text, 0, MOST_BYTES * most), "UTF-8")
    return points[:most]


def lowered(points: tf.Tensor) -> tf.Tensor:
    """Return characters with the small one in place of each capital."""
    _, _, capitals, small = tables()
    near = tf.minimum(tf.searchsorted(tf.constant(capitals), points), len(capitals) - 1)
    return tf.where(tf.gather(tf.constant(capitals), near) == points, tf.gather(tf.constant(small), near), points)


def kinds(points: tf.Tensor) -> tf.Tensor:
    """Return APART, PART or ALONE of each character; REPLACEMENT stands between words."""
    starts, runs, *_ = tables()
    kind = tf.gather(tf.constant(runs), tf.searchsorted(tf.constant(starts), points, side="right") - 1)
    return tf.where(points == REPLACEMENT, APART, kind)


def string(points: np.ndarray) -> str:
    """Return the text that characters make."""
    return np.asarray(points, "<i4").tobytes().decode("utf-32-le")


def words(points: tf.Tensor) -> tf.Tensor:
    """Return the words that characters make, string (words,), in UTF-8."""
    kind = kinds(points)
    between = tf.where(kind == ALONE, SPACE, 0)
    spaced = tf.stack([between, tf.where(kind == APART, SPACE, points), between], axis=1)
    flat = tf.reshape(spaced, [-1])
    return tf.strings.split(tf.strings.unicode_encode(tf.boolean_mask(flat, flat > 0), "UTF-8"))


def in_words(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the characters that are in words, int32 (characters,), and the number of the word that each is in."""
    kind = kinds(points)
    before = tf.concat([[APART], kind[:-1]], axis=0)[:tf.size(points)]
    begins = (kind == ALONE) | ((kind == PART) & (before != PART))
    words = tf.cumsum(tf.cast(begins, tf.int32)) - 1
    return tf.boolean_mask(points, kind != APART), tf.boolean_mask(words, kind != APART)
