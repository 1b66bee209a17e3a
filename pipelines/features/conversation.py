"""Conversations: what is asked and answered, as tokens of which the answers' alone are learnt."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from export.chat.pieces import CLOSE, OPEN, Kind, Message, Piece
from export.chat.templates import ASSISTANT, KNOWN, USER
from pipelines.features import chat_template
from pipelines.features.feature import Feature, Field, Learnt
from pipelines.features.running_text import NextTokens, RunningText
from pipelines.features.tokenizers import adopted
from pipelines.features.tokenizers.tokenizer import END, PADDING, START

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: What sources call it where a recipe does not say.
FIELD = "messages"
#: Tokens of a piece that are looked at, or as many as the model takes where that is more.
MOST = 4096
#: Stands for what a user asks; no text has it.
PLACE = OPEN + CLOSE
#: Pieces by number, as they go into a graph, and the tokens that are a piece by themselves.
KINDS: tuple[Kind, ...] = ("text", "answer", "start", "end", "answer_end")
TOKENS = (PADDING, PADDING, START, END, END)
LEARNT = (False, True, False, False, True)


class Conversation(RunningText, name="conversation", shorthand="tokenizer"):
    """A conversation as a model reads it that is to answer: token 2, and the tokens of all that is said but the last;
    filled up with 0 to a fixed length. Of what is longer the beginning is left out.

    Sources give it as a text of JSON, [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}],
    as OpenAI's chat has it. Special tokens that are written in a message are text.

    Args:
        field: what the source calls it; `messages` where not given.
        tokenizer: how text is cut.
        length: tokens of a conversation.
        ends: an answer has an end, token 3, where the template puts one.
        template: how it is written as one text: plain, roles, chatml, zephyr, gemma, llama2, llama3, alpaca, or a file
            of jinja with `messages`, `bos_token`, `eos_token` and `add_generation_prompt`, as model makers publish
            them.
        vocabulary: the run whose tokens these are, such as runs/llama/latest, for a model that starts from its weights;
            learnt from the training texts where not given.
    """

    ends: bool = True
    template: str = Setting("plain", min_length=1)
    vocabulary: str | None = Setting(None, min_length=1)

    @field_validator("ends")
    @classmethod
    def the_template_ends_answers(cls, value: bool) -> bool:
        if not value:
            raise PydanticCustomError("ends", "must be true: the template says where an answer ends; give one that "
                                      "does not write eos_token")
        return value

    def field_name(self, name: str) -> str:
        return self.field or FIELD

    def fingerprint(self) -> str:
        known = [] if self.vocabulary is None else [adopted.fingerprint(self.vocabulary)]
        return " ".join([*known, *([] if self.template in KNOWN else [self.jinja])])

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        """Return the vocabulary: that of the run, or of what the conversations say and what the template writes."""
        if self.vocabulary is not None:
            return adopted.vocabulary(self.vocabulary, "tokens", self.tokenizer)
        return super().learn(field, (piece.text.encode() for value in values for piece in self.pieces(
            chat_template.messages_of(value)) if piece.text))

    @property
    def jinja(self) -> str:
        """Return the template itself. Raises UserError where there is none."""
        return chat_template.source(self.template)

    def pieces(self, messages: Sequence[Message], *, prompt: bool = False) -> list[Piece]:
        """Return the pieces of a conversation, each as it is cut into tokens: what stands between two control tokens,
        and before an answer, as a whole, as programs cut it that are given all of the text."""
        result: list[Piece] = []
        for piece in chat_template.pieces(self.jinja, messages, prompt=prompt):
            if result and piece.kind == "text" == result[-1].kind:
                result[-1] = Piece(result[-1].text + piece.text, "text")
            else:
                result.append(piece)
        return result

    def asked(self, messages: Sequence[Message], learnt: Learnt) -> list[int]:
        """Return the tokens of a conversation behind the first, up to where an answer begins: all of them, whatever
        fits."""
        texts, kinds = _arrays(self.pieces(messages, prompt=True))
        tokens: list[int] = self._cut(tf.constant(texts), tf.constant(kinds), learnt)[0].numpy().tolist()
        return tokens

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        """Return why a conversation cannot be learnt: it has no messages, or does not end with an answer."""
        try:
            messages = chat_template.messages_of(bytes(value))
        except ValueError as error:
            return str(error)
        if messages[-1]["role"] != ASSISTANT or not messages[-1]["content"].strip():
            return "does not end with an answer: its last message must be of assistant, and have content"
        return None

    def load(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens that are read, int32 (length,), of a text of JSON."""
        return self._read(self.said(value, learnt)[0])

    def decode(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens that are read, int32 (length,), of what a user asks: the template is written around it, up
        to where an answer begins."""
        return self._read(self.question(value, learnt), whole=True)

    def question(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens behind the first, int32 (tokens,), of what a user asks, up to where an answer begins, in a
        graph too."""
        known = self.pieces([{"role": USER, "content": PLACE}], prompt=True)
        place = next(number for number, piece in enumerate(known) if PLACE in piece.text)
        before, behind = known[place].text.split(PLACE)
        texts = [tf.constant(piece.text) for piece in known]
        texts[place] = tf.strings.join([before, value, behind])
        return self._cut(tf.stack(texts), tf.constant(_arrays(known)[1]), learnt)[0]

    def said(self, value: tf.Tensor, learnt: Learnt) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the tokens of a text of JSON behind the first, int32 (tokens,), and which of them are answers, bool
        (tokens,): the last of them, as many as fit."""
        texts, kinds = tf.numpy_function(self._written, [value], [tf.string, tf.int32], stateful=False)
        tokens, answers = self._cut(tf.ensure_shape(texts, [None]), tf.ensure_shape(kinds, [None]), learnt)
        return tokens[-self.length:], answers[-self.length:]

    def _cut(self, texts: tf.Tensor, kinds: tf.Tensor, learnt: Learnt) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the tokens of pieces, and which of them are learnt, of all of them."""
        own, most = tf.gather(tf.constant(TOKENS), kinds), max(MOST, self.length)

        def tokens(piece: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            text, token = piece
            cut = self.tokenizer.tokens(text, learnt, most)[:most]
            return tf.concat([cut, tf.fill([tf.cast(token != PADDING, tf.int32)], token)], axis=0)

        rows = tf.map_fn(tokens, (texts, own), fn_output_signature=tf.RaggedTensorSpec([None], tf.int32, 0))
        return rows.flat_values, tf.repeat(tf.gather(tf.constant(LEARNT), kinds), rows.row_lengths())

    def _read(self, tokens: tf.Tensor, *, whole: bool = False) -> tf.Tensor:
        """Return what is read while tokens are answered: the first token, and all but the last of them; all, and the
        last ones where they do not fit, where what follows is not known."""
        read = tf.concat([[START], tokens[-(self.length - 1):] if whole else tokens[:-1]], axis=0)
        return tf.ensure_shape(tf.pad(read, [[0, self.length - tf.shape(read)[0]]]), [self.length])

    def _written(self, value: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the texts of a conversation's pieces, and their kinds, of bytes, or of an array of one text."""
        return _arrays(self.pieces(chat_template.messages_of(np.asarray(value, object).item())))


def _arrays(known: Sequence[Piece]) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts of pieces, and their kinds."""
    return (np.array([piece.text.encode() for piece in known], object),
            np.array([KINDS.index(piece.kind) for piece in known], np.int32))


class Answers(NextTokens, Conversation, name="answers"):
    """The tokens that follow those of a conversation, where they are of an answer; 0 elsewhere. Its settings are those
    of what is read."""

    counted = False

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return it with the settings of the conversation that is read."""
        read = next((one for one in others.values() if isinstance(one, Conversation) and not isinstance(one, Answers)),
                    None)
        return self if read is None else self.model_copy(update=dict(read))

    def load(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        """Return the tokens of the answers, int32 (length,), of a text of JSON."""
        tokens, answers = self.said(value, learnt)
        own = tf.where(answers, tokens, PADDING)
        return tf.ensure_shape(tf.pad(own, [[0, self.length - tf.shape(own)[0]]]), [self.length])


__all__ = ["Answers", "Conversation"]
