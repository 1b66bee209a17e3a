"""Tagged texts in CoNLL's format: a word and its tag in each line."""
from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_file import TableFile

with epy.lazy_imports():
    import numpy as np

#: What begins a line that is about a document and not a word.
DOCUMENT = "-DOCSTART-"
#: What stands between a word and its tag; other white space may be part of a word.
SPACES = " \t\v\f\r"
BETWEEN = re.compile(f"[{SPACES}]+")


class Conll(TableFile, name="conll", shorthand="path"):
    """Tagged texts in CoNLL's format: a word and its tag in each line, an empty line behind each text.

    Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003. Between a word and its tag are
    tabs or spaces, and maybe other columns. `text` are the words and `tags` the tags, in their order between spaces.
    Lines that begin with -DOCSTART- are passed over.

    Args:
        tag: column of the tag in a line, from 0; the last where not given.
    """

    what = "CoNLL"
    tag: int = Setting(-1)

    def tables(self) -> Mapping[Part, Table]:
        return _tables(self.fingerprint(), self)

    def fields(self) -> dict[str, Field]:
        tags = {tag for table in self.tables().values() for row in table.columns["tags"] for tag in row.split()}
        return {"text": Field(kind="text"), "tags": Field(kind="text", names=sorted(tag.decode() for tag in tags))}

    def texts(self, path: Path) -> Iterator[tuple[list[str], list[str]]]:
        """Give the words and the tags of each text of a file. Raises UserError."""
        words: list[str] = []
        tags: list[str] = []
        for number, line in enumerate(_content(path).split("\n"), 1):
            columns = BETWEEN.split(line.strip(SPACES)) if line.strip(SPACES) else []
            if columns and columns[0] == DOCUMENT:
                continue
            if not columns:
                if words:
                    yield words, tags
                words, tags = [], []
                continue
            if len(columns) < 2 or not -len(columns) <= self.tag < len(columns):
                raise UserError(f"data: {path.name} line {number} is {line.strip()!r}; a line has a word and its tag, "
                                "with a tab or a space between, and an empty line stands between texts")
            words.append(columns[0])
            tags.append(columns[self.tag])
        if words:
            yield words, tags


@functools.lru_cache(maxsize=4)
def _tables(version: str, source: Conll) -> Mapping[Part, Table]:
    """Return the parts, kept until their files change."""
    parts: dict[Part, Table] = {}
    for part, file in source.files.items():
        texts = list(source.texts(Path(file)))
        if not texts:
            raise UserError(f"data: {file} has no texts; it must have a word and its tag in each line")
        columns = {name: np.array([" ".join(text[position]).encode() for text in texts], object)
                   for position, name in enumerate(("text", "tags"))}
        parts[part] = Table(Path(file).name, columns)
    return parts


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"data: {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


