"""Questions about the installed Python packages, which their own metadata answer."""
from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field as Setting

from pipelines.ingest.index import Part
from pipelines.ingest.sources.questions import PASSAGE, Asked, table
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource

#: Lines of a package's metadata, and what is asked about each of them.
QUESTIONS = {
    "Version": "Which version of {name} is installed?", "Summary": "What is {name} for?",
    "Author": "Who wrote {name}?", "Author-email": "Whom can I write to about {name}?",
    "License": "Under which licence is {name}?", "License-Expression": "Under which licence is {name}?",
    "Requires-Python": "Which Python does {name} need?", "Home-page": "Where is {name} at home?"}
#: Characters of a line: licences are also given in full.
LONGEST = 120


class PackageQuestions(TableSource, name="package_questions", shorthand="longest"):
    """Questions about each Python package that is installed here, and the head of its METADATA file: its version, its
    purpose, its authors, its licence, the Python that it needs. The questions come from eight patterns, the texts and
    the answers from the packages; other packages give other questions.

    Args:
        longest: characters of a line of the metadata; longer ones are left out.
    """

    grouped_by = PASSAGE
    longest: int = Setting(LONGEST, ge=20)

    def fingerprint(self) -> str:
        return f"{self.longest} " + " ".join(f"{name} {version}" for name, version in _installed())

    def tables(self) -> Mapping[Part, Table]:
        return {"train": _table(self.longest)}


def _installed() -> list[tuple[str, str]]:
    """Return the names and versions of the installed packages, in order, each once."""
    known = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions() if one.metadata["Name"]}
    return sorted(known.items())


@functools.lru_cache(maxsize=2)
def _table(longest: int) -> Table:
    return table("package metadata", (asked for name, _ in _installed() for asked in _asked(name, longest)), None, None)


def _asked(name: str, longest: int) -> Iterator[Asked]:
    """Yield the questions about a package."""
    lines: dict[str, str] = {}
    known: Any = importlib.metadata.metadata(name)
    for key, value in known.items():
        if key in QUESTIONS and key not in lines and value.strip() and "\n" not in value and len(value) <= longest:
            lines[key] = value.strip()
    context = "\n".join(f"{key}: {value}" for key, value in {"Name": name, **lines}.items())
    for key, value in lines.items():
        start = context.index(f"\n{key}: {value}") + len(f"\n{key}: ")
        yield Asked(f"{name} {key}", name, QUESTIONS[key].format(name=name), context, (value,), start)
