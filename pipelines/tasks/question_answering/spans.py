"""From the scores of tokens to the stretch of a text that answers: the likeliest first and last token together."""
from __future__ import annotations

import dataclasses

from etils import epy

from pipelines.features.feature import Learnt
from pipelines.features.question import SEPARATOR
from pipelines.features.tokenizers import spans
from pipelines.features.tokenizers.tokenizer import END, Tokenizer

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


def text_of(span: Span, asked: str, tokens: np.ndarray, tokenizer: Tokenizer, learnt: Learnt) -> str:
    """Return the stretch as it is written in the text, without white space around it.

    Args:
        asked: question and text, see `features.question`.
        tokens: of both, (length,).
    """
    context = asked.partition(SEPARATOR)[2]
    begin = int(np.flatnonzero(tokens == END)[0]) + 1
    known = spans.spans(tokenizer, tf.constant(context.encode()), learnt, len(tokens))
    first, last = int(known.starts[span.first - begin]), int(known.ends[span.last - begin])
    return context[first:last].strip()
