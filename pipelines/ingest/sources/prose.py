"""English prose that is here anyway: the King James Bible, reviews, what programs say, and the licences and the
documentation of installed packages."""
from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from etils import epy
from pydantic import Field as Setting

from export.targets import tools
from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources import gettext, vader
from pipelines.ingest.sources.bible import Bible, chapters
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource
from pipelines.ingest.sources.text_lines import cut, of_columns

with epy.lazy_imports():
    import numpy as np
    import polib

#: Beginnings of the names of a package's files that are its licences and notices.
LICENCES = ("license", "licence", "copying", "notice")
#: Of a paragraph that is prose: words at least, the share of letters and spaces, and that of words as these.
FEWEST, LETTERS, COMMON = 8, 0.9, 0.2
COMMON_WORDS = frozenset(["the", "of", "to", "and", "in", "is", "that", "it", "for", "this", "be", "or", "are", "you",
                          "with", "as", "by", "not", "on"])
WORD = re.compile(r"[a-z']+")
#: Catalogues have the English messages whatever they are translated to.
LANGUAGE = "de"


class Document(NamedTuple):
    """A text, what it is called, what kind it is of, and under which licence."""

    text: str
    name: str
    kind: str
    licence: str


class Prose(TableSource, name="prose", shorthand="window"):
    """English texts in stretches of characters: chapters of the King James Bible; reviews and tweets, see the source
    `vader`; messages of Django; and what of the licences and the documentation of installed packages is prose.

    `text`, `document`, `kind` (scripture, reviews, messages, documentation) and `licence` are its fields; no document
    is in two splits. Which texts there are depends on the versions of the packages.

    Args:
        window: characters of a stretch, at most.
        bible: verses one a line, see the source `bible`; the Gospels where not given.
        packages: whose licences and documentation are taken.
        held_out: the seed of a recipe on `vader` with the shares of `validation` and `test` that are usual, in groups
            by document: what that recipe does not train on is left out, so that it can be tuned from what is learnt
            here. null takes all reviews.
        clear: as that recipe has it.
    """

    grouped_by = "document"
    window: int = Setting(200, ge=2)
    bible: str | None = Setting(None, min_length=1)
    packages: tuple[str, ...] = ("keras", "scikit-learn")
    held_out: int | None = 7
    clear: float = Setting(0.5, gt=0, lt=4)

    def fingerprint(self) -> str:
        versions = " ".join(f"{name} {distribution_of(name).version}" for name in (*self.packages, "Django"))
        return f"{Bible(path=self.bible).fingerprint()} {vader.FILE.stat().st_size} {versions}"

    def tables(self) -> Mapping[Part, Table]:
        return {"train": _table(self)}

    def documents(self) -> Iterator[Document]:
        """Yield all documents, whole. Raises UserError where one is not there."""
        for _, chapter, text in chapters(Bible(path=self.bible).file()):
            yield Document(text, chapter, "scripture", "public domain")
        yield from _reviews(self.held_out, self.clear)
        yield from _messages()
        for name in self.packages:
            yield from _documentation(name)


@functools.lru_cache(maxsize=1)
def _table(source: Prose) -> Table:
    rows: list[tuple[str, str, str, str]] = []
    for document in source.documents():
        rows += [(text, *document[1:]) for text in cut(document.text, source.window) if text.strip()]
    texts, names, kinds, licences = zip(*rows, strict=True)
    return of_columns("prose", {"text": texts, "document": names, "kind": kinds, "licence": licences})


def _reviews(seed: int | None, clear: float) -> Iterator[Document]:
    """Yield rated sentences, a document each; those of documents that a recipe does not train on are left out."""
    documents, ratings, texts = vader.rows()
    left_out = set() if seed is None else held_out(documents, ratings, clear, seed)
    for name, text in zip(documents.tolist(), texts.tolist(), strict=True):
        if name not in left_out:
            yield Document(text.decode(), name.decode(), "reviews", "MIT")


def held_out(documents: np.ndarray, ratings: np.ndarray, clear: float, seed: int, *, validation: float = 0.1,
             test: float = 0.2) -> Collection[bytes]:
    """Return the documents of the sentences that a recipe on `vader` validates and tests with.

    Args:
        clear: see `vader`.
        seed: of the recipe, which divides by the sign of the rating, in groups by document.
        validation, test: shares, as `data` has them.
    """
    from pipelines.ingest.grouping import taken_groups  # which needs all sources

    generator, known = np.random.default_rng(seed), np.abs(ratings) >= clear
    left, labels = documents[known], (ratings[known] > 0).astype(int)
    result: set[bytes] = set()
    for share in (test, validation):
        taken = np.zeros(len(left), bool)
        taken[taken_groups([name.decode() for name in left], labels.tolist(), share, generator)] = True
        result |= set(left[taken].tolist())
        left, labels = left[~taken], labels[~taken]
    return result


def _messages() -> Iterator[Document]:
    """Yield the English messages of Django, a document each, those with placeholders left out."""
    if missing := tools.missing(gettext.EXTRA):
        raise UserError(f"data.source: prose: {missing}")
    known: set[str] = set()
    for path in gettext.catalogues(gettext.folder_of("django"), LANGUAGE):
        for entry in (polib.mofile if path.suffix == ".mo" else polib.pofile)(str(path)):
            text = " ".join(entry.msgid.split())
            if len(text.split()) >= 3 and "%" not in text and text not in known:
                known.add(text)
                yield Document(text, f"message {len(known)}", "messages", "BSD-3-Clause")


def _documentation(package: str) -> Iterator[Document]:
    """Yield the licences, the description and the documentation strings of a package, a document for each file, its
    paragraphs of prose alone, without those of files before it."""
    distribution = distribution_of(package)
    known = [distribution.metadata[name] for name in ("License-Expression", "License") if name in distribution.metadata]
    licence = " ".join(known[0].split())[:60] if known else "see its files"
    texts = [("description", (distribution.read_text("METADATA") or "").partition("\n\n")[2])]
    for file in sorted(distribution.files or [], key=str):
        name = PurePath(str(file))
        if is_code(name) or (name.name.lower().startswith(LICENCES) and name.suffix not in (".py", ".pyc")):
            content = Path(str(distribution.locate_file(file))).read_bytes().decode(errors="replace")
            texts.append((str(name), "\n\n".join(documented(content)) if is_code(name) else content))
    seen: set[str] = set()
    for title, text in texts:
        paragraphs = [one for one in paragraphs_of(text) if one not in seen]
        seen.update(paragraphs)
        if paragraphs:
            yield Document("\n".join(paragraphs) + "\n", f"{package} {title}", "documentation", licence)


def is_code(name: PurePath) -> bool:
    """Return whether a package's file is Python's code of its own, and no test."""
    return name.suffix == ".py" and not {"tests", "testing", "_vendor"} & set(name.parts)


def documented(code: str) -> Iterator[str]:
    """Yield the documentation strings of Python's code; none of what is no code."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of others' escapes
            tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            yield text


def paragraphs_of(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text that are English prose, each in a line: whole sentences, no code, tables or
    lists of numbers."""
    for paragraph in re.split(r"\n\s*\n", text):
        line = " ".join(paragraph.split())
        words = WORD.findall(line.lower())
        if len(words) < FEWEST or line[-1] not in ".!?:" or "http" in line or ">>>" in line:
            continue
        letters = sum(letter.isalpha() or letter == " " for letter in line) / len(line)
        common = sum(word in COMMON_WORDS for word in words) / len(words)
        if letters >= LETTERS and common >= COMMON:
            yield line


def distribution_of(name: str) -> importlib.metadata.Distribution:
    """Return an installed package. Raises UserError."""
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"data.source: packages: {name} is not installed; leave it out") from None
