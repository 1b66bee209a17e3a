"""Text: the tokens that a string is cut into."""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.features import tokenizers
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.tokenizers import code_points
from pipelines.features.tokenizers.regex import DELIMITERS, Regex
from pipelines.features.tokenizers.tokenizer import END, ENDS, PADDING, SPECIAL, START, UNKNOWN, Tokenizer
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.features.tokenizers.word import Word

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What sources call it where a recipe does not say.
FIELD = "text"
#: Characters of a line of a drawing, and its lines.
LINE, LINES = 28, 8


class Text(Feature, name="text", shorthand="tokenizer"):
    """A text as the numbers of its tokens, filled up with 0 to a fixed length.

    1 stands for what is not in the vocabulary, which is learnt from the training texts alone.

    Args:
        field: what the source calls it; `text` where not given.
        tokenizer: how text is cut.
        length: tokens; what is behind them is cut off.
        ends: every text begins with token 2 and ends with token 3.
    """

    role, accepts = "tokens", ("text", "bytes")
    special: ClassVar[tuple[str, ...]] = SPECIAL
    tokenizer: Tokenizer = Word()
    length: int = Setting(64, ge=1, le=100_000)
    ends: bool = False

    def field_name(self, name: str) -> str:
        return self.field or FIELD

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        return self.tokenizer.learn(values, (*SPECIAL, *ENDS) if self.ends else SPECIAL)

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        known = {"words": tuple(learnt.names), "delimiters": DELIMITERS} if isinstance(self.tokenizer, Regex) else {}
        return Tensor(name=name, dtype="int32", shape=(self.length,), role="tokens", **known,
                      meaning=f"numbers of tokens, 0 to {len(learnt.names) - 1}, see tokenizer.json; {PADDING} behind "
                              f"the last, {UNKNOWN} where the vocabulary lacks one")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens of a text, int32 (length,)."""
        tokens = self.tokenizer.tokens(value, learnt, self.length)[:self.length - 2 * self.ends]
        if self.ends:
            tokens = tf.concat([[START], tokens, [END]], axis=0)
        return tf.ensure_shape(tf.pad(tokens, [[0, self.length - tf.shape(tokens)[0]]]), [self.length])

    def described(self, learnt: Learnt) -> dict[str, Any]:
        """Return all that an app must know to make the same tokens of a text: the content of tokenizer.json."""
        starts, kinds, capitals, small = (table.tolist() for table in code_points.tables())
        return {"length": self.length, "ends": self.ends, **self.tokenizer.described(learnt),
                "characters": {"starts": starts, "kinds": kinds, "capitals": capitals, "small": small},
                "vocabulary": learnt.names}

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        try:
            text = bytes(value).decode()
        except UnicodeDecodeError as error:
            return f"is not UTF-8 (byte {error.start})"
        return None if text.strip() else "has no text"

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        names = [learnt.names[number] for number in np.asarray(value).tolist() if number != PADDING]
        return self.tokenizer.text(name for name in names if name not in ENDS)

    def texts(self, tokens: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the texts that rows of tokens make, from int32 (batch, tokens) to string (batch,): in a graph what
        `in_words` returns."""
        names = ["" if number == PADDING or name in ENDS else name for number, name in enumerate(learnt.names)]
        return self.tokenizer.texts(tf.gather(tf.constant(names), tokens))

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        """Write the tokens, as far as there is room."""
        text = self.in_words(value, learnt).replace("$", r"\$")
        lines = [text[start:start + LINE] for start in range(0, len(text), LINE)]
        axes.text(0, 1, "\n".join(lines[:LINES]), va="top", fontsize=6, transform=axes.transAxes)
        axes.axis("off")

    def properties(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return how many tokens each text has, and the share of those that are unknown."""
        count = (values != PADDING).sum(axis=1)
        return {"tokens": count, "unknown": (values == UNKNOWN).sum(axis=1) / np.maximum(count, 1)}


class Words(Text, name="words", shorthand="length"):
    """A text that has been cut into words, which stand between spaces, as the numbers of these.

    Args:
        field: what the source calls it; `text` where not given.
        tokenizer: whitespace, with the size of its vocabulary.
        length: words; what is behind them is cut off.
    """

    tokenizer: Tokenizer = Whitespace()

    @field_validator("tokenizer")
    @classmethod
    def keeps_words(cls, value: Tokenizer) -> Tokenizer:
        if not isinstance(value, Whitespace):
            raise PydanticCustomError("tokenizer", "must be whitespace: there is a tag for each word between spaces")
        return value


__all__ = ["FIELD", "Text", "Words", "tokenizers"]
