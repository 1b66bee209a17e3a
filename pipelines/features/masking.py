"""Which tokens of texts are to be guessed, and what stands in their place (Devlin et al., "BERT", 2019, section
3.1)."""
from __future__ import annotations

from typing import NamedTuple

from etils import epy

from pipelines.features.tokenizers.mask import MASK
from pipelines.features.tokenizers.tokenizer import PADDING

with epy.lazy_imports():
    import tensorflow as tf

#: Tokens up to here are no text's own, and are not guessed.
SPECIAL = MASK
#: Of the tokens that are to be guessed, the share that is masked, and the share that becomes any token; the others
#: stay, for the text that a model is tuned on later has no masks.
MASKED, REPLACED = 0.8, 0.1


class Guesses(NamedTuple):
    """Texts with tokens that are to be guessed.

    Args:
        tokens: as a model reads them, int32 (batch, length).
        places: of those to be guessed, ascending, int32 (batch, guesses); 0 behind the last.
        originals: what stood there, int32 (batch, guesses); PADDING behind the last.
    """

    tokens: tf.Tensor
    places: tf.Tensor
    originals: tf.Tensor


def draw(tokens: tf.Tensor, seed: tf.Tensor, *, share: float, guesses: int, vocabulary: int,
         begins: tf.Tensor | None = None) -> Guesses:
    """Return texts some of whose tokens are to be guessed: a share of each text's own, at least one.

    Of these 80 % are masked, 10 % become any token of the vocabulary, and 10 % stay as they are.

    Args:
        tokens: int32 (batch, length), padded with 0.
        seed: two int32 numbers; the same seed gives the same result.
        share: of a text's tokens.
        guesses: how many there is room for in a text.
        vocabulary: how many tokens there are.
        begins: of each token of the vocabulary whether a word begins with it, bool (vocabulary,): words are then
            guessed whole, drawn one after the other as long as they fit into the share, and the first in any case.
    """
    own = tokens > SPECIAL
    count = tf.reduce_sum(tf.cast(own, tf.int32), axis=1, keepdims=True)
    number = tf.where(count > 0, tf.maximum(1, tf.cast(tf.round(share * tf.cast(count, tf.float32)), tf.int32)), 0)
    number = tf.minimum(number, guesses)
    drawn = tf.random.stateless_uniform(tf.shape(tokens), seed)
    if begins is None:
        chosen = own & (_ranks(tf.where(own, drawn, 2.0)) < number)
    else:
        word = tf.cumsum(tf.cast(~own | tf.gather(begins, tokens), tf.int32), axis=1) - 1
        drawn = tf.gather(drawn, tf.maximum(word, 0), batch_dims=1)
        ranks = _ranks(tf.where(own, drawn, 2.0))
        same = (word[:, :, None] == word[:, None, :]) & own[:, None, :]
        first = tf.reduce_min(tf.where(same, ranks[:, None, :], tokens.shape[1]), axis=2)
        last = tf.reduce_max(tf.where(same, ranks[:, None, :], -1), axis=2)
        chosen = own & ((last < number) | ((first == 0) & (ranks < guesses)))
    length = tf.shape(tokens)[1]
    places = tf.sort(tf.where(chosen, tf.range(length), length), axis=1)[:, :guesses]
    there = places < length
    places = tf.where(there, places, 0)
    originals = tf.where(there, tf.gather(tokens, places, batch_dims=1), PADDING)
    kind = tf.random.stateless_uniform(tf.shape(tokens), seed + 1)
    other = tf.random.stateless_uniform(tf.shape(tokens), seed + 2, SPECIAL + 1, vocabulary, tf.int32)
    changed = tf.where(kind < MASKED, MASK, tf.where(kind < MASKED + REPLACED, other, tokens))
    return Guesses(tf.where(chosen, changed, tokens), places, originals)


def restore(masked: tf.Tensor, places: tf.Tensor, originals: tf.Tensor) -> tf.Tensor:
    """Return the tokens that guesses were drawn of, int32 (batch, length)."""
    at = tf.one_hot(places, masked.shape[1], dtype=tf.int32) * tf.cast(originals != PADDING, tf.int32)[..., None]
    there = tf.reduce_sum(at, axis=1)
    return tf.where(there > 0, tf.reduce_sum(at * originals[..., None], axis=1), masked)


def _ranks(values: tf.Tensor) -> tf.Tensor:
    """Return the place of each value among those of its row, ascending, int32 (batch, length)."""
    return tf.argsort(tf.argsort(values, axis=1, stable=True), axis=1)
