"""What a tokenizer is: how text is cut into tokens, and which number each has."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
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
