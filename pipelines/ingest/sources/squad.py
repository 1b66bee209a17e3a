"""Questions about texts, in the user's own files: as SQuAD's JSON has them, or as JSON Lines."""
from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field as Setting
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources.questions import PASSAGE, Asked, checked, table
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource
from pipelines.ingest.sources.text_lines import read

LINES = (".jsonl", ".ndjson")


class Squad(TableSource, name="squad", shorthand="path"):
    """Questions, each with a text that answers it: SQuAD's JSON (1.1 or 2.0; Rajpurkar et al. 2016, 2018), or JSON
    Lines with `question`, `context`, `answer` (a text, a list of texts, or left out where there is none) and, where the
    answer occurs more than once, `start`, characters before it.

    No text is in two splits.

    Args:
        path: one file, of which shares become the validation and the test split.
        train, validation, test: or a file for each.
        window: words of a text that are read at once; longer ones are read in several windows, and answered by the one
            whose answer scores best. All at once where not given.
        stride: words from the beginning of a window to that of the next; half a window where not given.
    """

    grouped_by = PASSAGE
    path: str | None = Setting(None, min_length=1)
    train: str | None = Setting(None, min_length=1)
    validation: str | None = Setting(None, min_length=1)
    test: str | None = Setting(None, min_length=1)
    window: int | None = Setting(None, ge=2)
    stride: int | None = Setting(None, ge=1)

    @model_validator(mode="after")
    def files_and_windows_fit(self) -> Squad:
        if (self.path is None) == (self.train is None):
            raise PydanticCustomError("combination", "give path, one file with all questions, or train and what there "
                                                     "is of validation and test")
        if self.stride is not None and (self.window is None or self.stride > self.window):
            raise PydanticCustomError("combination", "stride must be at most window, which must be given: else words "
                                                     "between two windows are not read")
        return self

    @property
    def files(self) -> dict[Part, str]:
        """Return the file of each part."""
        parts: dict[Part, str | None] = {"train": self.path or self.train, "validation": self.validation,
                                         "test": self.test}
        return {part: path for part, path in parts.items() if path}

    def fingerprint(self) -> str:
        for path in self.files.values():
            if not Path(path).is_file():
                raise UserError(f"data.source.squad: {path} is not there; give a file of SQuAD's JSON or of JSON Lines")
        return f"{self.window} {self.stride} " + " ".join(
            f"{part} {path} {Path(path).stat().st_size} {Path(path).stat().st_mtime_ns}"
            for part, path in self.files.items())

    def tables(self) -> Mapping[Part, Table]:
        return _tables(self.fingerprint(), tuple(self.files.items()), self.window, self.stride)


@functools.lru_cache(maxsize=2)
def _tables(version: str, files: Sequence[tuple[Part, str]], window: int | None,
            stride: int | None) -> Mapping[Part, Table]:
    return {part: table(Path(path).name, questions(Path(path)), window, stride) for part, path in files}


def questions(path: Path) -> Iterator[Asked]:
    """Yield the questions of a file. Raises UserError that names the place of what is wrong."""
    text = read(path)
    if path.suffix.lower() in LINES:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                where = f"data: {path.name} line {number}"
                yield _of_line(_parsed(line, where), where, f"{path.name}:{number}")
        return
    content = _parsed(text, f"data: {path.name}")
    try:
        for article in content["data"]:
            for place, paragraph in enumerate(article["paragraphs"]):
                for question in paragraph["qas"]:
                    passage = f"{article.get('title', '')} {place}"
                    yield _of_squad(question, paragraph["context"], passage, path.name)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"data: {path.name} is not as SQuAD has it, data > paragraphs > context and qas > id, question "
                        f"and answers: {type(error).__name__} {error}. Files of JSON Lines end in .jsonl") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {error}") from None


def _of_squad(question: Mapping[str, Any], context: str, passage: str, file: str) -> Asked:
    answers = [] if question.get("is_impossible") else question.get("answers", [])
    start = answers[0]["answer_start"] if answers else 0
    asked = Asked(str(question["id"]), passage, question["question"], context,
                  tuple(dict.fromkeys(answer["text"] for answer in answers)), start)
    return checked(asked, f"data: {file} question {question['id']}")


def _of_line(row: Any, where: str, name: str) -> Asked:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "context")):
        raise UserError(f'{where} must be an object with question and context, for instance {{"question": "Who?", '
                        '"context": "Ada wrote it.", "answer": "Ada"}')
    answer = row.get("answer")
    answers = () if answer is None else (answer,) if isinstance(answer, str) else tuple(map(str, answer))
    start = row.get("start", -1)
    if not isinstance(start, int):
        raise UserError(f"{where}: start is {start!r}; it must be the number of characters before the answer")
    return checked(Asked(str(row.get("id", name)), row["context"], row["question"], row["context"], answers, start),
                   where)
