"""The King James Bible, chapter by chapter, in stretches of characters."""
from __future__ import annotations

import functools
import itertools
import lzma
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource
from pipelines.ingest.sources.text_lines import cut, of_columns

GOSPELS = Path(__file__).with_name("bible_data") / "gospels.txt.xz"
#: A verse: its book, chapter and number, and its text.
VERSE = re.compile(r"(\w+?)(\d+):(\d+) (.+)")


class Bible(TableSource, name="bible", shorthand="path"):
    """The King James Bible of 1611, in stretches of characters that do not cross chapters; a verse is a line.

    The four Gospels come with litepress. The whole is in Debian's package bible-kjv-text, as Chip Chapin made it
    available for unrestricted use; `make data-text` fetches it. The text is in the public domain but in the United
    Kingdom, where printing it is the Crown's.

    `chapter` and `book` are what a stretch is of; no chapter is in two splits.

    Args:
        path: verses one a line, "Ge1:1 In the beginning …", as `make data-text` writes them into data/text/bible.txt;
            the Gospels where not given.
        window: characters of a stretch, at most.
    """

    grouped_by = "chapter"
    path: str | None = Setting(None, min_length=1)
    window: int = Setting(128, ge=2)

    def fingerprint(self) -> str:
        status = self.file().stat()
        return f"bible {self.window} {status.st_size} {status.st_mtime_ns if self.path else ''}"

    def tables(self) -> Mapping[Part, Table]:
        path = self.file()
        return {"train": _table(path, path.stat().st_mtime_ns, self.window)}

    def file(self) -> Path:
        """Return the file of verses. Raises UserError where it is not there."""
        path = GOSPELS if self.path is None else Path(self.path)
        if not path.is_file():
            raise UserError(f"data.source.bible.path: {path} is not there; make data-text writes data/text/bible.txt. "
                            "Without path the four Gospels are taken, which come with litepress")
        return path


@functools.lru_cache(maxsize=2)
def _table(path: Path, changed: int, window: int) -> Table:
    rows = [(text, chapter, book) for book, chapter, whole in chapters(path) for text in cut(whole, window)]
    texts, names, books = zip(*rows, strict=True)
    return of_columns("bible", {"text": texts, "chapter": names, "book": books})


def chapters(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the book, the name and the text of each chapter. Raises UserError where a line is no verse."""
    content = path.read_bytes()
    lines = (lzma.decompress(content) if path == GOSPELS else content).decode().splitlines()
    matches = [VERSE.fullmatch(line) for line in lines]
    if not lines or None in matches:
        raise UserError(f"data.source.bible.path: {path} line {matches.index(None) + 1 if lines else 1} is no verse; "
                        'lines are like "Ge1:1 In the beginning …"')
    verses = [match.groups() for match in matches if match is not None]
    for (book, number), group in itertools.groupby(verses, key=lambda verse: verse[:2]):
        yield book, f"{book} {number}", "".join(f"{text}\n" for *_, text in group)
