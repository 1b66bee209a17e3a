"""Running text: tokens, and of each of them the one that follows."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from etils import epy
from pydantic import Field as Setting

from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.text import Text
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.tokenizer import END, ENDS, PADDING, SPECIAL, START, Tokenizer

with epy.lazy_imports():
    import tensorflow as tf


class RunningText(Text, name="running_text", shorthand="tokenizer"):
    """A stretch of text as a model reads it that says which token follows: token 2, which stands before the first, and
    the tokens of the text but the last; filled up with 0 to a fixed length.

    Args:
        field: what the source calls it; `text` where not given.
        tokenizer: how text is cut.
        length: tokens of a stretch; what is behind them is cut off.
        ends: token 3 follows the last one, of texts that have an end, such as lines.
    """

    tokenizer: Tokenizer = Character()
    length: int = Setting(128, ge=1, le=100_000)

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        return self.tokenizer.learn(values, (*SPECIAL, *ENDS))

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens that are read, int32 (length,)."""
        following = self.following(value, learnt)
        there = tf.concat([[START], following[:-1]], axis=0)
        return tf.where(following == PADDING, PADDING, there)

    def following(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens that follow those that are read, int32 (length,): the text's own."""
        tokens = self.tokenizer.tokens(value, learnt, self.length)[:self.length]
        if self.ends:
            tokens = tf.concat([tokens, [END]], axis=0)[:self.length]
        return tf.ensure_shape(tf.pad(tokens, [[0, self.length - tf.shape(tokens)[0]]]), [self.length])

    def described(self, learnt: Learnt) -> dict[str, Any]:
        """Return the content of tokenizer.json: an app puts `start` before the tokens of a text itself."""
        return super().described(learnt) | {"ends": False, "start": START, "end": END if self.ends else None}

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        """Return why a text cannot be learnt: it is empty or not UTF-8, or has more characters than fit."""
        try:
            text = bytes(value).decode()
        except UnicodeDecodeError as error:
            return f"is not UTF-8 (byte {error.start})"
        if not text:
            return "has no text"
        if isinstance(self.tokenizer, Character) and len(text) + self.ends > self.length:
            return (f"has {len(text):,} characters, and data.tokens.length is {self.length}: raise it, or let the "
                    "source cut text into shorter stretches")
        return None


class NextTokens(RunningText, name="next_tokens"):
    """The tokens that follow those of a stretch of text, one at each step; its settings are those of what is read."""

    counted = False

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return it with the tokenizer, the length and the field of the text that is read."""
        read = next((one for one in others.values() if isinstance(one, RunningText) and type(one) is not type(self)),
                    None)
        return self if read is None else self.model_copy(update=dict(read))

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return self.following(value, learnt)

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens one-hot; padding is no token."""
        known = tf.cast(values != PADDING, tf.float32)[..., None]
        return tf.one_hot(values, len(learnt.names)) * known


__all__ = ["NextTokens", "RunningText"]
