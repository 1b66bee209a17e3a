"""Parts of words that a vocabulary has, looked up all at once by TensorFlow's own operations.

Characters come as code points, int32 (characters,), with the number of the word that each is in, ascending. A cut of
them is int32 (characters,) too: how many characters the piece has that begins at each, 0 within a piece.
"""
from __future__ import annotations

from collections.abc import Sequence

from etils import epy

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Characters of a piece, at most.
LONGEST = 16
#: Runs of characters are told apart by polynomials of their code points modulo 2 to the 64; this is where they are
#: taken at.
BASE = 0x9E3779B97F4A7C15


def positions(points: tf.Tensor, words: tf.Tensor, pieces: Sequence[str]) -> tf.Tensor:
    """Return where each run of characters stands among pieces, int32 (characters, LONGEST): the number n counts the
    characters behind the first; -1 where the run is no piece, or goes beyond its word.

    Args:
        words: of each character.
        pieces: all different, of at most LONGEST characters; longer ones match nothing.
    """
    if not pieces:
        return tf.fill([tf.size(points), LONGEST], -1)
    hashes = np.array([_hash(piece) for piece in pieces], "uint64").view("int64")
    order = np.argsort(hashes, kind="stable")
    table, places = tf.constant(hashes[order]), tf.constant(order.astype("int32"))
    total = tf.zeros(tf.shape(points), tf.uint64)
    matches = []
    for size in range(LONGEST):
        behind = tf.minimum(size, tf.size(points))
        shifted, word = (tf.pad(values[size:], [[0, behind]], constant_values=-1) for values in (points, words))
        total = total * tf.constant(BASE, tf.uint64) + tf.cast(shifted + 1, tf.uint64)
        key = tf.bitcast(total, tf.int64)
        near = tf.minimum(tf.searchsorted(table, key), len(pieces) - 1)
        same = tf.equal(tf.gather(table, near), key) & tf.equal(word, words)
        matches.append(tf.where(same, tf.gather(places, near), -1))
    return tf.stack(matches, axis=1)


def _hash(piece: str) -> int:
    total = 0
    for character in piece:
        total = (total * BASE + ord(character) + 1) % 2**64
    return total


def longest_first(begin: tf.Tensor, inside: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """Return the cut of words into the longest piece that they begin with, again and again (Wu et al., "Google's Neural
    Machine Translation System", 2016, as in BERT); a word that cannot be cut so is one piece.

    Args:
        begin: of pieces that begin a word, see `positions`.
        inside: of those within one.
        words: of each character.
    """
    count, lengths, first = _spans(words)
    sizes = tf.range(1, LONGEST + 1)

    def longest(matches: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.where(matches >= 0, sizes, 0), axis=1)

    is_first = tf.range(tf.size(words)) == tf.gather(first, words)
    longest_at = tf.where(is_first, longest(begin), longest(inside))

    def step(at: tf.Tensor, cut: tf.Tensor, failed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        going = tf.where((at < lengths) & ~failed)[:, 0]
        place = tf.gather(first + at, going)
        size = tf.gather(longest_at, place)
        cut = tf.tensor_scatter_nd_update(cut, place[:, None], size)
        at = tf.tensor_scatter_nd_add(at, going[:, None], size)
        return at, cut, tf.tensor_scatter_nd_update(failed, going[:, None], size == 0)

    start = (tf.zeros([count], tf.int32), tf.zeros_like(words), tf.zeros([count], tf.bool))
    _, cut, failed = tf.while_loop(lambda at, _, failed: tf.reduce_any((at < lengths) & ~failed), step, start)
    whole = tf.where(is_first, tf.gather(lengths, words), 0)
    return tf.where(tf.gather(failed, words), whole, cut)


def merged(matches: tf.Tensor, scores: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """Return the cut of words by byte pair encoding (Sennrich, Haddow and Birch, "Neural Machine Translation of Rare
    Words with Subword Units", 2016): of two neighbours the pair with the best score becomes one, again and again.

    Args:
        matches: see `positions`.
        scores: of pieces, float32; all different.
        words: of each character.
    """
    size = tf.size(words)
    count, _, _ = _spans(words)
    lowest = scores.dtype.min

    def best(cut: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the first character of each word's best pair, and whether the word has one."""
        second = tf.gather(cut, tf.minimum(tf.range(size) + cut, size - 1))
        both = cut + second
        fits = (cut > 0) & (second > 0) & (both <= LONGEST) & (tf.range(size) + cut < size)
        piece = tf.gather(matches, tf.clip_by_value(both - 1, 0, LONGEST - 1), axis=1, batch_dims=1)
        score = tf.where(fits & (piece >= 0), tf.gather(scores, tf.maximum(piece, 0)), lowest)
        highest = tf.math.unsorted_segment_max(score, words, count)
        is_best = (score == tf.gather(highest, words)) & (score > lowest)
        place = tf.math.unsorted_segment_min(tf.where(is_best, tf.range(size), size), words, count)
        return place, place < size

    def step(cut: tf.Tensor, place: tf.Tensor, there: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        left = tf.boolean_mask(place, there)
        right = left + tf.gather(cut, left)
        cut = tf.tensor_scatter_nd_add(cut, left[:, None], tf.gather(cut, right))
        cut = tf.tensor_scatter_nd_update(cut, right[:, None], tf.zeros_like(right))
        return cut, *best(cut)

    cut = tf.ones_like(words)
    result, _, _ = tf.while_loop(lambda cut, place, there: tf.reduce_any(there), step, (cut, *best(cut)))
    return result


def likeliest(matches: tf.Tensor, scores: tf.Tensor, unknown: float, words: tf.Tensor) -> tf.Tensor:
    """Return the cut of words with the highest sum of scores (Kudo, "Subword Regularization", 2018, section 3.2, by
    Viterbi's algorithm); of two equal ones that with the longer last piece.

    Args:
        matches: see `positions`.
        scores: of pieces, float32: logarithms of their probabilities.
        unknown: score of a character that is no piece.
        words: of each character.
    """
    size = tf.size(words)
    count, lengths, first = _spans(words)
    known = tf.where(matches >= 0, tf.gather(scores, tf.maximum(matches, 0)), scores.dtype.min)
    alone = tf.where(matches[:, :1] >= 0, known[:, :1], unknown)
    known = tf.concat([alone, known[:, 1:]], axis=1)
    sizes = tf.range(LONGEST, 0, -1)

    def forward(end: tf.Tensor, total: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Find the best way to the first `end` characters of each word; `total` has a place before each word."""
        going = tf.where(lengths >= end)[:, 0]
        start = tf.gather(first, going)[:, None] + end - sizes
        fits = sizes <= end
        places = tf.stack([tf.maximum(start, 0), tf.broadcast_to(sizes - 1, tf.shape(start))], axis=-1)
        way = tf.where(fits, tf.gather_nd(known, places), scores.dtype.min)
        before = tf.gather(total, tf.maximum(start + tf.cast(going, tf.int32)[:, None], 0))
        value = tf.where(way > scores.dtype.min, before + way, scores.dtype.min)
        chosen = tf.argmax(value, axis=1, output_type=tf.int32)
        node = tf.gather(first, going) + tf.cast(going, tf.int32) + end
        total = tf.tensor_scatter_nd_update(total, node[:, None], tf.reduce_max(value, axis=1))
        return end + 1, total, tf.tensor_scatter_nd_update(last, node[:, None], tf.gather(sizes, chosen))

    most = tf.reduce_max(tf.concat([lengths, [0]], axis=0))
    begin = (tf.constant(1), tf.zeros([size + count], scores.dtype), tf.zeros([size + count], tf.int32))
    _, _, last = tf.while_loop(lambda end, total, last: end <= most, forward, begin)

    def backward(end: tf.Tensor, cut: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        going = tf.where(end > 0)[:, 0]
        place = tf.gather(end, going)
        length = tf.gather(last, tf.gather(first, going) + tf.cast(going, tf.int32) + place)
        cut = tf.tensor_scatter_nd_update(cut, (tf.gather(first, going) + place - length)[:, None], length)
        return tf.tensor_scatter_nd_sub(end, going[:, None], length), cut

    _, cut = tf.while_loop(lambda end, cut: tf.reduce_any(end > 0), backward, (lengths, tf.zeros_like(words)))
    return cut


def _spans(words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return how many words there are, and of each its characters and the place of the first."""
    count = tf.reduce_max(tf.concat([words, [-1]], axis=0)) + 1
    lengths = tf.math.unsorted_segment_sum(tf.ones_like(words), words, count)
    return count, lengths, tf.cumsum(lengths, exclusive=True)
