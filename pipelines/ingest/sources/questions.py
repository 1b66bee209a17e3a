"""Questions, the texts that answer them, and the windows that long texts are read in."""
from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from pipelines.errors import UserError
from pipelines.features.question import ASKED, MARKED, SEPARATOR
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.text_lines import of_columns

#: Columns beside what features are made of: all answers that count, as a JSON list; the question's own name, which its
#: windows have in common; and what its text is called, no text being in two splits.
ANSWERS, NAME, PASSAGE = "answers", "question_id", "passage"


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question and the text that answers it.

    Args:
        name: of the question, of its own.
        passage: what its text is called.
        answers: texts that are right, all of them in the context; none where it does not answer the question.
        start: characters of the context before the first answer.
    """

    name: str
    passage: str
    question: str
    context: str
    answers: tuple[str, ...] = ()
    start: int = 0


def table(name: str, questions: Iterable[Asked], window: int | None, stride: int | None) -> Table:
    """Return a row for each question, or for each window of its text. Raises UserError where there are none.

    Args:
        window, stride: words, see `windows`.
    """
    rows = [row for asked in questions for row in _rows(asked, window, stride)]
    if not rows:
        raise UserError(f"data: {name} has no questions")
    return of_columns(name, {column: [row[column] for row in rows] for column in rows[0]})


def _rows(asked: Asked, window: int | None, stride: int | None) -> Iterator[dict[str, str]]:
    question = asked.question.replace(SEPARATOR, " ")
    context = asked.context.replace(SEPARATOR, " ")
    begin, end = _whole_words(context, asked.start, asked.start + len(asked.answers[0])) if asked.answers else (0, 0)
    for first, last in windows(context, window, stride):
        text = context[first:last]
        inside = first <= begin < end <= last
        cut = (begin - first, end - first) if inside else (len(text), len(text))
        parts = (question, text[:cut[0]], text[cut[0]:cut[1]], text[cut[1]:])
        yield {ASKED: SEPARATOR.join((question, text)), MARKED: SEPARATOR.join(parts), NAME: asked.name,
               PASSAGE: asked.passage, ANSWERS: json.dumps(asked.answers, ensure_ascii=False)}


def windows(text: str, window: int | None, stride: int | None) -> Iterator[tuple[int, int]]:
    """Yield the first character of each window of a text, and the one behind it; every word is in one at least.

    Args:
        window: words, which stand between white space; all of the text where not given.
        stride: words from the beginning of a window to that of the next; half a window where not given.
    """
    words = [match.span() for match in re.finditer(r"\S+", text)]
    if window is None or len(words) <= window:
        yield 0, len(text)
        return
    step = stride or max(1, window // 2)
    for first in range(0, len(words) - window + step, step):
        last = min(first + window, len(words))
        yield words[last - window][0], words[last - 1][1]


def _whole_words(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return the stretch with all of the words that it begins and ends in."""
    while begin > 0 and text[begin - 1].isalnum() and text[begin].isalnum():
        begin -= 1
    while end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    return begin, end


def checked(asked: Asked, where: str) -> Asked:
    """Return a question whose answers are all in its text, where they stand. Raises UserError.

    Args:
        where: in which file, for messages.
    """
    if not asked.question.strip() or not asked.context.strip():
        raise UserError(f"{where} has no question or no context; both must have some words")
    if not asked.answers:
        return asked
    first, start = asked.answers[0], asked.start
    if not first.strip():
        raise UserError(f"{where} has an empty answer; leave answers out where the text has none")
    if asked.context[start:start + len(first)] != first:
        start = asked.context.find(first) if start < 0 else -1
    if start < 0:
        raise UserError(f"{where}: its answer {first[:60]!r} does not stand in its context at "
                        f"{'any place' if asked.start < 0 else f'character {asked.start}'}")
    return dataclasses.replace(asked, start=start)


def answers_of(column: Sequence[bytes]) -> list[list[str]]:
    """Return the answers that count, by row, of a column of `table`."""
    return [json.loads(value) for value in column]
