"""Tokenizers as llama.cpp has them."""
from __future__ import annotations

from export.targets import gguf
from pipelines.features.feature import Learnt
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.byte_bpe import LEFT, RIGHT, ByteBpe, first_byte
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.targets import held_out_prompts, sentencepiece_model


def special(read: RunningText) -> gguf.Special:
    """Return the numbers of special tokens."""
    return gguf.Special(START, END, UNKNOWN, PADDING, held_out_prompts.never(read))


def vocabulary(read: RunningText, learnt: Learnt) -> gguf.Vocabulary:
    """Return how llama.cpp cuts texts as they are cut here. Raises ValueError where it does not."""
    if not isinstance(read.tokenizer, ByteBpe):
        return gguf.of_sentencepiece(sentencepiece_model.written(read.tokenizer, learnt))
    first = first_byte(learnt)
    left, right = ([learnt.names[first + int(number)] for number in learnt.statistics[side]] for side in (LEFT, RIGHT))
    return gguf.of_bytes(learnt.names, list(zip(left, right, strict=True)), special(read), first)
