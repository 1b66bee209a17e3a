"""From the scores of tokens to the stretch of a text that answers: the likeliest first and last token together."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from etils import epy

from pipelines.features.question import SEPARATOR
from pipelines.features.tokenizers.tokenizer import END
from pipelines.features.tokenizers.word import Word

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Span:
    """A stretch of tokens.

    Args:
        first, last: numbers among the tokens of question and text.
        score: what both score together, less what no answer scores.
    """

    first: int
    last: int
    score: float


def best(logits: np.ndarray, tokens: np.ndarray, longest: int) -> Span | None:
    """Return the stretch of the text that scores best; None where the text has no tokens.

    Args:
        logits: of first and last tokens, (2, length).
        tokens: of question and text, (length,).
        longest: tokens of an answer, at most.
    """
    ends = np.flatnonzero(tokens == END)
    begin = int(ends[0]) + 1 if len(ends) else len(tokens)
    end = int(ends[1]) if len(ends) > 1 else int((tokens != 0).sum())
    if end <= begin:
        return None
    first, last = (np.asarray(row[begin:end], np.float64) for row in logits)
    total = first[:, None] + last[None]
    places = np.arange(end - begin)
    distance = places[None] - places[:, None]
    total[(distance < 0) | (distance >= longest)] = -np.inf
    row, column = np.unravel_index(int(total.argmax()), total.shape)
    none = float(logits[0][0] + logits[1][0])
    return Span(begin + int(row), begin + int(column), float(total[row, column]) - none)


def text_of(span: Span, asked: str, tokens: np.ndarray, tokenizer: Word) -> str:
    """Return the stretch as it is written in the text.

    Args:
        asked: question and text, see `features.question`.
    """
    context = asked.partition(SEPARATOR)[2]
    begin = int(np.flatnonzero(tokens == END)[0]) + 1
    places = positions(context, tokenizer)
    return context[places[span.first - begin][0]:places[span.last - begin][1]]


def positions(text: str, tokenizer: Word) -> list[tuple[int, int]]:
    """Return where each token of a text stands: its first character, and the one behind it."""
    words = [word.decode() for word in tokenizer.words(tf.constant(text.encode()), len(text)).numpy().tolist()]
    return _aligned([_small(letter) for letter in text] if tokenizer.lower else list(text), words)


def _small(letter: str) -> str:
    return letter.lower() if len(letter.lower()) == 1 else letter


def _aligned(letters: Sequence[str], words: Sequence[str]) -> list[tuple[int, int]]:
    """Return where words stand, which come one behind the other, with what is no word between them."""
    result, place = [], 0
    for word in words:
        while letters[place] != word[0]:
            place += 1
        result.append((place, place + len(word)))
        place += len(word)
    return result
