"""Pairs of texts that say the same, in the user's own files: two with a text a line each, or a table of two columns."""
from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource
from pipelines.ingest.sources.text_lines import of_columns, read

#: Between the two texts of a line.
TAB = "\t"


class ParallelText(TableSource, name="parallel_text", shorthand="path"):
    """Pairs of texts in UTF-8, `source` and `target`, a pair a line: in a file of two columns with a tab between, or in
    two files.

    `sentence` is the source without capitals and what is neither letter nor digit; pairs of one sentence are in one
    split. Lines without a text on either side are left out.

    Args:
        path: a file of two columns.
        source, target: two files in place of it, whose lines go together.
        longest: characters of either text; pairs with longer ones are left out.
    """

    grouped_by = "sentence"
    path: str | None = Setting(None, min_length=1)
    source: str | None = Setting(None, min_length=1)
    target: str | None = Setting(None, min_length=1)
    longest: int | None = Setting(None, ge=1)

    def fingerprint(self) -> str:
        return f"{self.longest} " + " ".join(f"{path} {size} {time}" for path, size, time in self._files())

    def tables(self) -> Mapping[Part, Table]:
        return {"train": _table(self._files(), self.longest)}

    def _files(self) -> tuple[tuple[str, int, int], ...]:
        """Return path, size and time of change of each file. Raises UserError."""
        paths = [self.path] if self.path is not None else [self.source, self.target]
        if None in paths or (self.path is not None and (self.source or self.target)):
            raise UserError("data.source.parallel_text: give path, a file of two columns, or source and target, two "
                            "files")
        for path in paths:
            if not Path(str(path)).is_file():
                raise UserError(f"data.source.parallel_text: {path} is not there; give a text file")
        return tuple((str(path), Path(str(path)).stat().st_size, Path(str(path)).stat().st_mtime_ns) for path in paths)


@functools.lru_cache(maxsize=2)
def _table(files: Sequence[tuple[str, int, int]], longest: int | None) -> Table:
    names = [Path(path).name for path, *_ in files]
    columns = [read(Path(path)).splitlines() for path, *_ in files]
    if len(columns) == 1:
        pairs = [line.split(TAB) for line in columns[0]]
        wrong = next((number for number, pair in enumerate(pairs, 1) if len(pair) != 2 and any(pair)), None)
        if wrong is not None:
            raise UserError(f"data.source.parallel_text: {names[0]} line {wrong} has {len(pairs[wrong - 1])} columns; "
                            "it must have two, with a tab between")
        columns = [[pair[0] for pair in pairs if len(pair) == 2], [pair[1] for pair in pairs if len(pair) == 2]]
    if len(columns[0]) != len(columns[1]):
        raise UserError(f"data.source.parallel_text: {names[0]} has {len(columns[0]):,} lines, and {names[1]} "
                        f"{len(columns[1]):,}; a line of one must be that of the other")
    return of_pairs(names[0], list(zip(*columns, strict=True)), longest, "data.source.parallel_text")


def of_pairs(name: str, pairs: Sequence[tuple[str, str]], longest: int | None, where: str) -> Table:
    """Return a table of pairs, each once. Raises UserError where none is left.

    Args:
        longest: characters of either text.
        where: of the setting, for messages.
    """
    kept = [(source.strip(), target.strip()) for source, target in dict.fromkeys(pairs)]
    kept = [(source, target) for source, target in kept if source and target
            and (longest is None or max(len(source), len(target)) <= longest)]
    if not kept:
        few = "" if longest is None else f" of at most {longest} characters"
        raise UserError(f"{where}: there are no pairs{few}")
    return of_columns(name, {"source": [source for source, _ in kept], "target": [target for _, target in kept],
                             "sentence": [sentence(source) for source, _ in kept]})


def sentence(text: str) -> str:
    """Return what texts have in common that differ in capitals, punctuation and white space alone; the text itself
    where there is no letter or digit in it."""
    return "".join(letter for letter in text.casefold() if letter.isalnum()) or text
