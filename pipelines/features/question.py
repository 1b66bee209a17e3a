"""A question and the text that answers it, and where in the text the answer stands."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.text import Text
from pipelines.features.tokenizers import spans
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, Tokenizer
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.features.tokenizers.word import Word

with epy.lazy_imports():
    import tensorflow as tf

#: What stands between a question and its text, and around the answer in it: a character that no token has.
SEPARATOR = "\x1f"
#: What sources call a question with its text, and the same with the answer set apart.
ASKED, MARKED = "asked", "marked"


class Question(Text, name="question", shorthand="length"):
    """A question and a text: token 2, the question, token 3, the text, token 3; filled up with 0 to a fixed length.

    Args:
        field: what the source calls both, with character 31 between.
        tokenizer: how both are cut.
        length: tokens of both; of the text, what is behind them is cut off.
        question: tokens of the question; what is behind them is cut off.
    """

    field: str | None = Setting(ASKED, min_length=1)
    tokenizer: Tokenizer = Word()
    length: int = Setting(128, ge=8, le=100_000)
    question: int = Setting(24, ge=1)
    ends: bool = True

    @field_validator("tokenizer")
    @classmethod
    def knows_where_its_tokens_stand(cls, value: Tokenizer) -> Tokenizer:
        if not spans.knows(value) or isinstance(value, Whitespace):
            raise PydanticCustomError("tokenizer", "must be word, character, or pieces of words: an answer is a "
                                      "stretch of the text")
        return value

    @model_validator(mode="after")
    def leaves_room_for_the_text(self) -> Question:
        if self.question > self.length - 4:  # three special tokens, and one of the text
            raise PydanticCustomError("question", "question is {question}, and length {length} leaves no room for the "
                                      "text; give at most {most}, or a larger length", {
                                          "question": self.question, "length": self.length, "most": self.length - 4})
        return self

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        """Return what is learnt of questions and their texts, of which what stands between is none."""
        return super().learn(field, (bytes(value).replace(SEPARATOR.encode(), b" ") for value in values))

    def parts(self, value: tf.Tensor, learnt: Learnt) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the tokens of a question, int32 (tokens,), and three other parts of a value as they are, "" where it
        has fewer."""
        texts = tf.strings.split(tf.strings.join([value, SEPARATOR * 3]), SEPARATOR)
        question = self.tokenizer.tokens(texts[0], learnt, self.question)[:self.question]
        return question, [texts[place] for place in (1, 2, 3)]

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens of question and text, int32 (length,)."""
        question, (context, *_) = self.parts(value, learnt)
        text = self.tokenizer.tokens(context, learnt, self.length)
        room = self.length - 3 - tf.shape(question)[0]
        tokens = tf.concat([[START], question, [END], text[:room], [END]], axis=0)
        return tf.ensure_shape(tf.pad(tokens, [[0, self.length - tf.shape(tokens)[0]]]), [self.length])

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        if reason := super().fault(value, learnt):
            return reason
        question, separator, text = bytes(value).decode().partition(SEPARATOR)
        if not separator:
            return "has no text beside its question; its source must set them apart with character 31"
        return None if question.strip() and text.strip() else "has no question, or no text"

    def described(self, learnt: Learnt) -> dict[str, Any]:
        """Return the content of tokenizer.json: how both are put together is the app's to do."""
        return super().described(learnt) | {"question": self.question, "start": START, "end": END}


class Answer(Feature, name="answer"):
    """Where an answer stands: the numbers of its first token and of its last one, among those of question and text; 0
    and 0 where the text does not answer the question, or only behind what is cut off.

    Args:
        field: what the source calls question, text before the answer, answer, and text behind it, with character 31
            between.
    """

    accepts = ("text", "bytes")
    role = "values"
    counted = False
    field: str | None = Setting(MARKED, min_length=1)
    length: int = Setting(128, ge=8, le=100_000)
    question: int = Setting(24, ge=1)
    tokenizer: Tokenizer = Word()

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return it with the tokenizer and the lengths of the question that it is beside."""
        asked = next((one for one in others.values() if isinstance(one, Question)), None)
        return self if asked is None else self.model_copy(update={
            name: getattr(asked, name) for name in ("length", "question", "tokenizer")})

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        """Return what the question beside it learns: of the same texts, without what stands around the answer."""
        return Question(tokenizer=self.tokenizer).learn(field, (_asked(bytes(value)) for value in values))

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int32", shape=(2,), role="values",
                      meaning="numbers of the answer's first token and of its last one; 0 where there is none")

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the first token that has some of the answer and the last one, int32 (2,)."""
        asked = Question(length=self.length, question=self.question, tokenizer=self.tokenizer)
        question, (before, answer, behind) = asked.parts(value, learnt)
        known = spans.spans(self.tokenizer, tf.strings.join([before, answer, behind]), learnt, self.length)
        begin = tf.strings.length(before, unit="UTF8_CHAR")
        end = begin + tf.strings.length(answer, unit="UTF8_CHAR")
        offset = tf.shape(question)[0] + 2
        first = offset + tf.reduce_sum(tf.cast(known.ends <= begin, tf.int32))
        last = offset + tf.reduce_sum(tf.cast(known.starts < end, tf.int32)) - 1
        there = (end > begin) & (last >= first) & (last < self.length - 1)
        return tf.where(there, tf.stack([first, last]), PADDING)

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return both one-hot, float32 (batch, 2, length)."""
        return tf.one_hot(values, self.length)


def _asked(marked: bytes) -> bytes:
    """Return a question with its text out of the same with the answer set apart."""
    between = SEPARATOR.encode()
    question, _, text = marked.partition(between)
    return question + between + text.replace(between, b"")
