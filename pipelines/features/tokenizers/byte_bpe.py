"""Byte-level byte pair encoding, as GPT-2 has it."""
from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import byte_level, code_points
from pipelines.features.tokenizers.tokenizer import Tokenizer
from pipelines.features.tokenizers.word import CHARACTERS

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: The pairs that have become tokens, in the order of the tokens behind those of single bytes: the numbers of the left
#: and of the right ones, counted from the first byte's.
LEFT, RIGHT = "left", "right"


class ByteBpe(Tokenizer, name="byte_bpe", shorthand="most"):
    """Bytes in words, of which frequent pairs of neighbours have become one, and pairs of these. Every text has tokens,
    white space and capitals included, and comes back from them as it was; bytes that are not UTF-8 count as U+FFFD.

    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.2; learnt by the library
    `tokenizers`, which cuts text into the same tokens (ByteLevel without a space before the text). Merges that make a
    token that there is already are left out: of two neighbours the pair with the lower number is merged first.

    Args:
        most: tokens of the vocabulary, the 256 of single bytes among them.
    """

    most: int = Setting(8000, ge=byte_level.BYTES)

    def learn(self, texts: Iterable[bytes], special: tuple[str, ...]) -> Learnt:
        names, merges = learned((text.decode(errors="replace") for text in texts), self.most)
        number = {name: place for place, name in enumerate(names)}
        return Learnt(names=[*special, *names], statistics={
            LEFT: [number[left] for left, _ in merges], RIGHT: [number[right] for _, right in merges]})

    def tokens(self, text: tf.Tensor, learnt: Learnt, most: int) -> tf.Tensor:
        content, words = byte_level.in_words(code_points.of(text, most * CHARACTERS))
        special = first_byte(learnt)
        number = {name: place for place, name in enumerate(learnt.names[special:special + byte_level.BYTES])}
        tokens = tf.gather(tf.constant([number[name] for name in byte_level.alphabet()], tf.int32), content)
        return special + merged(tokens, words, *(np.array(learnt.statistics[side], np.int64) for side in (LEFT, RIGHT)))

    def text(self, tokens: Iterable[str]) -> str:
        return byte_level.text(tokens)

    def texts(self, tokens: tf.Tensor) -> tf.Tensor:
        return byte_level.texts(tokens)

    def described(self, learnt: Learnt) -> dict[str, Any]:
        starts, kinds = (table.tolist() for table in byte_level.classes())
        return {"kind": "byte_bpe", "lower": False, "characters_per_token": CHARACTERS,
                "classes": {"starts": starts, "kinds": kinds},
                "merges": {side: [int(number) for number in learnt.statistics[side]] for side in (LEFT, RIGHT)}}


def first_byte(learnt: Learnt) -> int:
    """Return how many special tokens are before those of single bytes."""
    return len(learnt.names) - byte_level.BYTES - len(learnt.statistics[LEFT])


def learned(texts: Iterable[str], most: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the tokens of texts by their numbers, in the alphabet of bytes: those of single bytes, then one for each
    merge; and the merges, in their order.

    Args:
        most: tokens.

    Raises:
        UserError: the library is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise UserError("data: the library tokenizers learns byte_bpe, and is not installed; "
                        ".venv/bin/pip install -e '.[text]' brings it") from None
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    # no token is longer than the characters that are looked at for each that is needed
    library.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
        vocab_size=most, initial_alphabet=sorted(byte_level.alphabet()), max_token_length=CHARACTERS,
        show_progress=False, special_tokens=[]))
    names = sorted(byte_level.alphabet())
    merges = []
    known = set(names)
    for left, right in json.loads(library.to_str())["model"]["merges"]:
        if left + right not in known:
            known.add(left + right)
            names.append(left + right)
            merges.append((left, right))
    return names, merges


def merged(tokens: tf.Tensor, words: tf.Tensor, left: np.ndarray, right: np.ndarray) -> tf.Tensor:
    """Return what tokens of single bytes become, int32 (tokens,): of all pairs of neighbours in a word that with the
    lowest number becomes one, from left to right, again and again.

    As a token comes of one pair alone, and pairs with it have higher numbers, all occurrences of the best pair can be
    merged at once.

    Args:
        words: of each token, ascending.
        left, right: of the token BYTES, of the one behind it, and so on: int64 (merges,).
    """
    if not len(left):
        return tokens
    count = byte_level.BYTES + len(left)
    keys = left * count + right
    order = np.argsort(keys)
    table, results = tf.constant(keys[order]), tf.constant((byte_level.BYTES + order).astype(np.int32))

    def pairs(tokens: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        """Return what each token and the next one make; `count` where that is nothing."""
        wide = tf.cast(tokens, tf.int64)
        key = wide[:-1] * count + wide[1:]
        near = tf.minimum(tf.searchsorted(table, key), len(keys) - 1)
        same = (tf.gather(table, near) == key) & (words[:-1] == words[1:])
        return tf.where(same, tf.gather(results, near), count)

    def step(tokens: tf.Tensor, words: tf.Tensor, pair: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        best = tf.gather(tf.math.segment_min(pair, words[:-1]), words[:-1])
        is_best = (pair == best) & (pair < count)
        # of pairs that share tokens, as in "aaaa", every other one
        run = tf.cumsum(tf.cast(~is_best, tf.int32))
        counted = tf.cumsum(tf.cast(is_best, tf.int32), exclusive=True)
        within = counted - tf.gather(tf.math.segment_min(counted, run), run)
        chosen = tf.concat([is_best & (within % 2 == 0), [False]], axis=0)
        kept = ~tf.concat([[False], chosen[:-1]], axis=0)
        tokens = tf.boolean_mask(tf.where(chosen, tf.pad(pair, [[0, 1]]), tokens), kept)
        words = tf.boolean_mask(words, kept)
        return tokens, words, pairs(tokens, words)

    anything = tf.TensorShape([None])
    result, _, _ = tf.while_loop(lambda tokens, words, pair: tf.reduce_any(pair < count), step,
                                 (tokens, words, pairs(tokens, words)), (anything, anything, anything))
    return result
