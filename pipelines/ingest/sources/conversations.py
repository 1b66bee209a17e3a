"""Conversations in the user's own files, as OpenAI's chat has them, or as pairs of a prompt and an answer."""
from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field as Setting

from export.chat.templates import ASSISTANT, SYSTEM, USER
from pipelines.errors import UserError
from pipelines.features import chat_template
from pipelines.features.conversation import FIELD
from pipelines.ingest.index import Part
from pipelines.ingest.sources.part_names import PARTS
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource
from pipelines.ingest.sources.text_lines import of_columns, read

ENDING = ".jsonl"
WHERE = "data.source.conversations"


class Conversations(TableSource, name="conversations", shorthand="path"):
    """Files of JSON Lines: each line is a conversation, {"messages": [{"role": "user", "content": "Why?"}, …]}, as
    OpenAI's chat has it, or a prompt and its answer, {"prompt": "Why?", "answer": "So."}.

    In a folder, the files train.jsonl, validation.jsonl and test.jsonl are parts; all others are trained on.
    `question` is what is said first; conversations that begin alike are in one split.

    Args:
        path: a file, or a folder of .jsonl files.
        prompt, answer: what a line calls the two, where it has no messages.
        system: what is said before each conversation that does not begin so itself.
    """

    grouped_by = "question"
    path: str = Setting(min_length=1)
    prompt: str = Setting("prompt", min_length=1)
    answer: str = Setting("answer", min_length=1)
    system: str | None = Setting(None, min_length=1)

    def fingerprint(self) -> str:
        files = " ".join(f"{path} {size} {time}" for _, path, size, time in self._files())
        return f"{self.prompt} {self.answer} {self.system} {files}"

    def tables(self) -> Mapping[Part, Table]:
        return _tables(self._files(), self.prompt, self.answer, self.system)

    def _files(self) -> tuple[tuple[Part, str, int, int], ...]:
        """Return part, path, size and time of change of each file. Raises UserError."""
        root = Path(self.path)
        paths = sorted(path for path in root.glob(f"*{ENDING}") if not path.name.startswith(".")) \
            if root.is_dir() else [root]
        if not paths or not paths[0].is_file():
            raise UserError(f"{WHERE}.path: {self.path} is not there, or has no {ENDING} files; give one, or a folder "
                            "of such")
        parts = [PARTS.get(path.stem.lower(), "train") if root.is_dir() else "train" for path in paths]
        if "train" not in parts:
            raise UserError(f"{WHERE}.path: {self.path} has {' and '.join(sorted(set(parts)))}, and nothing to train "
                            "on")
        return tuple((part, str(path), path.stat().st_size, path.stat().st_mtime_ns)
                     for part, path in zip(parts, paths, strict=True))


@functools.lru_cache(maxsize=2)
def _tables(files: Sequence[tuple[Part, str, int, int]], prompt: str, answer: str,
            system: str | None) -> Mapping[Part, Table]:
    rows: dict[Part, list[tuple[str, str]]] = {}
    for part, path, *_ in files:
        for number, line in enumerate(read(Path(path)).split("\n"), 1):
            if line.strip():
                rows.setdefault(part, []).append(_row(line, f"{Path(path).name} line {number}", prompt, answer, system))
    if "train" not in rows:
        raise UserError(f"{WHERE}.path: there is nothing to train on; the files are empty")
    return {part: of_columns(part, {FIELD: [messages for messages, _ in own], "question": [one for _, one in own]})
            for part, own in rows.items()}


def _row(line: str, where: str, prompt: str, answer: str, system: str | None) -> tuple[str, str]:
    """Return the messages of a line as JSON, and what is said first. Raises UserError."""
    try:
        known = json.loads(line)
    except ValueError as error:
        raise UserError(f"data: {where} is not JSON: {error}") from None
    if not isinstance(known, dict) or not (FIELD in known or {prompt, answer} <= set(known)):
        raise UserError(f"data: {where} has neither {FIELD} nor both {prompt} and {answer}; name these in "
                        f"{WHERE}.prompt and .answer")
    messages = known[FIELD] if FIELD in known else paired(str(known[prompt]), str(known[answer]))
    if system is not None and isinstance(messages, list) and messages and _role(messages[0]) != SYSTEM:
        messages = [{"role": SYSTEM, "content": system}, *messages]
    written = json.dumps(messages, ensure_ascii=False)
    try:
        first = next((one["content"] for one in chat_template.messages_of(written.encode())
                      if one["role"] == USER), "")
    except ValueError as error:
        raise UserError(f"data: {where} {error}") from None
    return written, first


def paired(prompt: str, answer: str) -> list[dict[str, str]]:
    """Return the messages of a prompt and its answer."""
    return [{"role": USER, "content": prompt}, {"role": ASSISTANT, "content": answer}]


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None
