"""What a tokenizer is: how text is cut into tokens, and which number each has."""
from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from etils import epy

from pipelines.entries import Entry
from pipelines.features.feature import Learnt

with epy.lazy_imports():
    import tensorflow as tf

#: The first numbers: what fills a sequence up to its length, and what stands for all that the vocabulary lacks; then,
#: where texts have ends, what stands before and behind one.
PADDING, UNKNOWN, START, END = 0, 1, 2, 3
SPECIAL = ("<PAD>", "<UNKNOWN>")
ENDS = ("<START>", "<END>")

#: Bytes of texts that are cut at once, about.
CHUNK = 2**20


def together(texts: Iterable[bytes], between: bytes) -> Iterator[bytes]:
    """Give texts in few long ones, which takes less time to cut.

    Args:
        between: what stands between two.
    """
    some: list[bytes] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size > CHUNK:
            yield between.join(some)
            some, size = [], 0
    if some:
        yield between.join(some)


def most_frequent(texts: Iterable[bytes], between: bytes, cut: Callable[[tf.Tensor, int], tf.Tensor],
                  name: Callable[[Any], str], *, most: int, min_count: int, special: tuple[str, ...]) -> Learnt:
    """Return the vocabulary of the tokens that occur most often in texts, behind the special ones; of those that occur
    as often the first of their code points come first. What is called as a special token is never learnt.

    Args:
        between: what stands between two texts that are cut at once, and makes no token.
        cut: from a text, a string, and how many of its characters are looked at, to its tokens, (tokens,).
        name: from a token, as NumPy has it, to its name; "" is left out.
        most: tokens of the vocabulary without the special ones.
        min_count: how often a token must occur.
    """
    counts: collections.Counter[Any] = collections.Counter()
    for some in together(texts, between):
        counts.update(cut(tf.constant(some), len(some)).numpy().tolist())
    named = ((count, name(token)) for token, count in counts.items() if count >= min_count)
    frequent = sorted((-count, word) for count, word in named if word and word not in (*SPECIAL, *ENDS))
    return Learnt(names=[*special, *(word for _, word in frequent[:most])])


def own_tokens(names: Sequence[str]) -> int:
    """Return how many special tokens a vocabulary begins with: those that no text has, whatever is written in it."""
    return next((number for number, name in enumerate(names) if name not in (*SPECIAL, *ENDS)), len(names))


class Tokenizer(Entry):
    """How text is cut into tokens. It learns its vocabulary from the training texts, and is made of TensorFlow's own
    operations alone, so that it runs wherever the model is served."""

    def learn(self, texts: Iterable[bytes], special: tuple[str, ...]) -> Learnt:
        """Return the vocabulary, as `names`: token by number, the special ones first; and what else it needs.

        Args:
            texts: of the training split, UTF-8.
            special: tokens that no text has.
        """
        raise NotImplementedError

    def tokens(self, text: tf.Tensor, learnt: Learnt, most: int) -> tf.Tensor:
        """Return the numbers of a text's first tokens, int32 (tokens,), UNKNOWN where the vocabulary lacks one.

        Args:
            text: UTF-8, a string; bytes that are not count as characters that are not known.
            most: tokens that are needed; more may be given.
        """
        raise NotImplementedError

    def text(self, tokens: Iterable[str]) -> str:
        """Return the text that tokens of the vocabulary make, as far as it can be known."""
        return " ".join(tokens)

    def texts(self, tokens: tf.Tensor) -> tf.Tensor:
        """Return the same in a graph, of several texts at once, string (batch,).

        Args:
            tokens: their names, string (batch, tokens); "" where there is none.
        """
        spaced = tf.where(tokens == "", "", tf.strings.join([" ", tokens]))
        return tf.strings.regex_replace(tf.strings.reduce_join(spaced, axis=-1), "^ ", "")

    def described(self, learnt: Learnt) -> dict[str, Any]:
        """Return what an app must know beside the vocabulary to cut text as this does."""
        raise NotImplementedError
