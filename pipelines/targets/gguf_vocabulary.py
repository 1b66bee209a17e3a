"""Tokenizers as llama.cpp has them."""
from __future__ import annotations

import dataclasses

from export.chat.pieces import MARKS
from export.targets import gguf
from pipelines.features.feature import Learnt
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.byte_bpe import LEFT, RIGHT, ByteBpe, first_byte
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.targets import chats, held_out_prompts, sentencepiece_model


def special(read: RunningText) -> gguf.Special:
    """Return the numbers of special tokens."""
    return gguf.Special(START, END, UNKNOWN, PADDING, held_out_prompts.never(read))


def vocabulary(read: RunningText, learnt: Learnt) -> gguf.Vocabulary:
    """Return how llama.cpp cuts texts as they are cut here, and its template of conversations. Raises ValueError where
    it does not.

    Special tokens are called as nobody writes them: it takes their names in a text for the tokens themselves.
    """
    if isinstance(read.tokenizer, ByteBpe):
        first = first_byte(learnt)
        left, right = ([learnt.names[first + int(number)] for number in learnt.statistics[side]]
                       for side in (LEFT, RIGHT))
        words = gguf.of_bytes(learnt.names, list(zip(left, right, strict=True)), special(read), first)
    else:
        words = gguf.of_sentencepiece(sentencepiece_model.written(read.tokenizer, learnt))
    return dataclasses.replace(words, tokens=[*MARKS, *words.tokens[len(MARKS):]],
                               template=chats.in_llama_cpp(read, words.kind))
