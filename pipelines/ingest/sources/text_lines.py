"""Running text in the user's own files: line by line, or in stretches of some characters."""
from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources.part_names import PARTS
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource

with epy.lazy_imports():
    import numpy as np

ENDING = ".txt"


class TextLines(TableSource, name="text_lines", shorthand="path"):
    """Text files in UTF-8. `text` is a line, or a stretch of characters, and `file` what it is of.

    In a folder, the files train.txt, validation.txt and test.txt are parts; all others are trained on, in the order of
    their names.

    Args:
        path: a file, or a folder of .txt files, relative to where litepress runs.
        window: cut each file into stretches of at most so many characters, white space and all; where not given, each
            line that is not empty is a text.
    """

    path: str = Setting(min_length=1)
    window: int | None = Setting(None, ge=2)

    def fingerprint(self) -> str:
        return f"{self.window} " + " ".join(f"{path} {size} {time}" for _, path, size, time in self._files())

    def tables(self) -> Mapping[Part, Table]:
        return _tables(self._files(), self.window)

    def _files(self) -> tuple[tuple[Part, str, int, int], ...]:
        """Return part, path, size and time of change of each file. Raises UserError."""
        root = Path(self.path)
        if not root.exists():
            raise UserError(f"data.source.text_lines.path: {self.path} is not there; give a text file, or a folder of "
                            f"{ENDING} files")
        paths = sorted(path for path in root.glob(f"*{ENDING}") if not path.name.startswith(".")) \
            if root.is_dir() else [root]
        if not paths:
            raise UserError(f"data.source.text_lines.path: {self.path} has no {ENDING} files")
        parts = [PARTS.get(path.stem.lower(), "train") if root.is_dir() else "train" for path in paths]
        if "train" not in parts:
            raise UserError(f"data.source.text_lines.path: {self.path} has {' and '.join(sorted(set(parts)))}, and "
                            "nothing to train on")
        return tuple((part, str(path), path.stat().st_size, path.stat().st_mtime_ns)
                     for part, path in zip(parts, paths, strict=True))


@functools.lru_cache(maxsize=2)
def _tables(files: Sequence[tuple[Part, str, int, int]], window: int | None) -> Mapping[Part, Table]:
    tables: dict[Part, Table] = {}
    for part in ("train", "validation", "test"):
        rows = [(text, path) for own, path, *_ in files if own == part for text in cut(read(Path(path)), window)]
        if rows:
            tables[part] = of_columns(part, {"text": [text for text, _ in rows],
                                             "file": [Path(path).name for _, path in rows]})
    if "train" not in tables:
        raise UserError("data.source.text_lines.path: there is no text to train on; the files are empty")
    return tables


def of_columns(name: str, columns: Mapping[str, Sequence[str]]) -> Table:
    """Return a table of texts."""
    return Table(name, {column: np.array([text.encode() for text in texts], object)
                        for column, texts in columns.items()})


def cut(text: str, window: int | None) -> Iterator[str]:
    """Yield the stretches of a text, none of it twice and none left out; or its lines, but for empty ones.

    A stretch ends behind a line break that is in its last quarter, or else behind a space where it has one: what is
    cut in the middle of a word is hard to go on with.

    Args:
        window: characters of a stretch, at most; lines where not given.
    """
    if window is None:
        yield from (line for line in text.splitlines() if line.strip())
        return
    start = 0
    while start < len(text):
        end = start + window
        if end < len(text):
            line, space = text.rfind("\n", end - window // 4, end), text.rfind(" ", start, end)
            end = next((place + 1 for place in (line, space) if place >= start), end)
        yield text[start:end]
        start = end


def read(path: Path) -> str:
    """Return the text of a file, with one character at the end of each line. Raises UserError."""
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
