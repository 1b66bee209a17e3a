"""What Python packages say of their functions and classes: long, and in a line."""
from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources.parallel_text import sentence
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource
from pipelines.ingest.sources.text_lines import of_columns

#: A docstring in three double quotes behind a line that ends in a colon.
DOCSTRING = re.compile(r':[ \t]*\n[ \t]+[rR]?"""(.+?)"""', re.DOTALL)
#: Words of a summary, at least and at most, and of a description, at least.
WORDS, DESCRIBED = (3, 24), 12
#: What stands below a line of dashes, or begins the lists of arguments: it is no description.
SECTION = re.compile(r"\n[^\n]+\n-{3,}|\n(Args|Arguments|Returns|Raises|Parameters|Examples?|Yields):?\s*\n|"
                     r"\n>>>|\n```|\n\.\. ")


class Docstrings(TableSource, name="docstrings", shorthand="packages"):
    """Docstrings in installed Python packages: `source` is the description below the first line, without the sections
    on arguments and examples, and `target` the first line, which summarizes it.

    By default those of numpy, scikit-learn and Keras (BSD, BSD, Apache 2.0). Texts with one first line are in one
    split.

    Args:
        packages: that are looked through.
        longest: characters of a description; what is behind them is cut off, at the end of a word.
    """

    grouped_by = "sentence"
    packages: tuple[str, ...] = Setting(("numpy", "sklearn", "keras"), min_length=1)
    longest: int = Setting(600, ge=80)

    def fingerprint(self) -> str:
        return f"{self.longest} " + " ".join(f"{name} {_version(name)}" for name in self.packages)

    def tables(self) -> Mapping[Part, Table]:
        return {"train": _table(self.packages, self.longest, self.fingerprint())}


def _version(package: str) -> str:
    names = importlib.metadata.packages_distributions().get(package, [])
    return " ".join(importlib.metadata.version(name) for name in names) or str(folder_of(package).stat().st_mtime_ns)


def folder_of(package: str) -> Path:
    """Return the folder of an installed package. Raises UserError."""
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or found.origin is None:
        raise UserError(f"data.source.docstrings.packages: {package} is not an installed package; give the names that "
                        "they are imported by")
    return Path(found.origin).parent


@functools.lru_cache(maxsize=2)
def _table(packages: Sequence[str], longest: int, version: str) -> Table:
    pairs: dict[str, str] = {}
    for package in packages:
        for path in sorted(folder_of(package).rglob("*.py")):
            for summary, description in pairs_of(path.read_text(encoding="utf-8", errors="replace")):
                pairs.setdefault(_shortened(description, longest), summary)
    if not pairs:
        raise UserError(f"data.source.docstrings.packages: {', '.join(packages)} have no docstring of a line and a "
                        "description below it")
    return of_columns("docstrings", {"source": list(pairs), "target": list(pairs.values()),
                                     "sentence": [sentence(summary) for summary in pairs.values()]})


def pairs_of(code: str) -> Iterator[tuple[str, str]]:
    """Yield the first line and the description of each docstring of a file that has both."""
    for match in DOCSTRING.finditer(code):
        head, _, rest = inspect.cleandoc(match[1]).partition("\n\n")
        summary = " ".join(head.split())
        described = SECTION.search(f"\n{rest}\n")
        description = " ".join((rest if described is None else rest[:max(0, described.start() - 1)]).split())
        if WORDS[0] <= len(summary.split()) <= WORDS[1] and len(description.split()) >= DESCRIBED:
            yield summary, description


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest].rpartition(" ")[0]
