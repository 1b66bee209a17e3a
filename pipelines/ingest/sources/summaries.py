"""What a function does in a line, and how its documentation goes on: pairs of texts that mean one thing."""
from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

from pipelines.errors import UserError
from pipelines.features.pair_text import FIELD
from pipelines.ingest.index import Part
from pipelines.ingest.sources.pairs import joined
from pipelines.ingest.sources.prose import distribution_of, documented, is_code, paragraphs_of
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource
from pipelines.ingest.sources.text_lines import of_columns


class Summaries(TableSource, name="summaries", shorthand="packages"):
    """Documentation strings of installed packages: `text` is the first line, `text2` the first paragraph of prose
    behind it, and `pair` both. `document` is the file, which is in one split; each line is taken once.

    Args:
        packages: that are looked through; which pairs there are depends on their versions.
    """

    grouped_by = "document"
    packages: tuple[str, ...] = ("keras", "numpy", "scikit-learn", "scipy")

    def fingerprint(self) -> str:
        return " ".join(f"{name} {distribution_of(name).version}" for name in self.packages)

    def tables(self) -> Mapping[Part, Table]:
        return {"train": _table(self.packages)}


@functools.lru_cache(maxsize=1)
def _table(packages: tuple[str, ...]) -> Table:
    pairs: dict[str, tuple[str, str]] = {}
    for package in packages:
        for file in sorted(distribution_of(package).files or [], key=str):
            name = PurePath(str(file))
            if is_code(name):
                content = Path(str(distribution_of(package).locate_file(file))).read_bytes().decode(errors="replace")
                for text, rest in summaries(content):
                    pairs.setdefault(text, (rest, str(name)))
    if not pairs:
        raise UserError(f"data.source.summaries: {', '.join(packages)} document nothing; give other packages")
    rests, documents = zip(*pairs.values(), strict=True)
    both = [joined(text.encode(), rest.encode()).decode() for text, rest in zip(pairs, rests, strict=True)]
    return of_columns("summaries", {"text": list(pairs), "text2": rests, FIELD: both, "document": documents})


def summaries(code: str) -> Iterator[tuple[str, str]]:
    """Yield the first line and the first paragraph of prose behind it of each documentation string that has both."""
    for text in documented(code):
        first, _, rest = text.partition("\n\n")
        line = " ".join(first.split())
        following = next(paragraphs_of(rest), None)
        if len(line.split()) >= 3 and following is not None:
            yield line, following
