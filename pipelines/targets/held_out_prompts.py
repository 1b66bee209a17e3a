"""How held-out texts begin, or conversations up to where they are answered, and what the trained model goes on with:
what engines are held against."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from etils import epy

from export.chat.pieces import Message
from pipelines.features.chat_template import messages_of
from pipelines.features.conversation import Conversation
from pipelines.features.feature import Learnt
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.ingest.data import Data
from pipelines.tasks.language_model.task import OUTPUT, TOKENS, LanguageModel
from pipelines.tasks.raw_texts import texts

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

#: The share of a held-out text that is a prompt.
SHARE = 3


@dataclasses.dataclass(frozen=True)
class Prompt:
    """How a held-out text begins, or a held-out conversation up to where it is answered; its tokens behind the first,
    and how many are added to them."""

    asked: str | Sequence[Message]
    tokens: list[int]
    count: int


def text_of(data: Data, target: str, engine: str) -> tuple[RunningText, Learnt]:
    """Return how texts are cut. Raises ValueError of other tasks than language models."""
    read = data.features.get(TOKENS)
    if not isinstance(data.task, LanguageModel) or not isinstance(read, RunningText):
        raise ValueError(f"{engine} goes on with texts, and this is {data.task.entry_name}; leave the target {target} "
                         "out")
    return read, data.index.learnt[TOKENS]


def never(read: RunningText) -> list[int]:
    """Return the tokens that are not written."""
    return [PADDING, UNKNOWN, START, *([] if read.ends else [END])]


def prompts(data: Data, read: RunningText, learnt: Learnt, most: int, tokens: int, length: int) -> list[Prompt]:
    """Return how held-out texts begin, evenly spread over the test split; those with unknown tokens are left out.

    Args:
        most: of the texts.
        tokens: that are added to each, at most.
        length: of a text that the model has room for.
    """
    held_out = list(texts(data, "test", TOKENS))
    result: list[Prompt] = []
    for text in held_out[::max(1, len(held_out) // most)]:
        begin = _begin(text, read)
        if not begin or len(result) == most:
            continue
        numbers = _tokens(begin, read, learnt)
        count = min(tokens, length - 1 - len(numbers))
        if UNKNOWN not in numbers and count > 0:
            result.append(Prompt(begin, numbers, count))
    return result


def _begin(text: str, read: RunningText) -> str | Sequence[Message]:
    """Return how a held-out text begins; of a conversation all but its last message, an answer."""
    if isinstance(read, Conversation):
        return messages_of(text.encode())[:-1]
    return text[:-(-len(text) // SHARE)].rstrip()


def _tokens(begin: str | Sequence[Message], read: RunningText, learnt: Learnt) -> list[int]:
    if isinstance(begin, str):
        numbers: list[int] = read.tokenizer.tokens(tf.constant(begin), learnt, len(begin) + 1).numpy().tolist()
        return numbers
    assert isinstance(read, Conversation)
    return read.asked(begin, learnt)


def greedy(model: keras.Model, begun: Sequence[Prompt], barred: Sequence[int]) -> list[list[int]]:
    """Return what the trained model goes on with, reading each text anew for each token; nothing behind its end.

    Args:
        begun: how the texts begin.
        barred: tokens that are not written.
    """
    rows = np.zeros((len(begun), model.inputs[0].shape[1]), np.int32)
    taken = np.array([1 + len(prompt.tokens) for prompt in begun])
    for row, prompt in zip(rows, begun, strict=True):
        row[:1 + len(prompt.tokens)] = [START, *prompt.tokens]
    added: list[list[int]] = [[] for _ in begun]
    for step in range(max((prompt.count for prompt in begun), default=0)):
        going = [number for number, prompt in enumerate(begun) if step < prompt.count and END not in added[number]]
        if not going:
            break
        answers = model(rows[going], training=False)
        logits = np.array(answers[OUTPUT] if isinstance(answers, dict) else answers)
        last = logits[np.arange(len(going)), taken[going] + step - 1]
        last[:, list(barred)] = -np.inf
        for number, token in zip(going, last.argmax(axis=1).tolist(), strict=True):
            added[number].append(token)
            if taken[number] + step < rows.shape[1]:
                rows[number, taken[number] + step] = token
    return [[token for token in tokens if token != END] for tokens in added]
