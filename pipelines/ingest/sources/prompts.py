"""Conversations made of the examples of another source: a question about each, and its answer."""
from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Annotated

from etils import epy
from pydantic import Field as Setting
from pydantic import WithJsonSchema

from pipelines.errors import UserError
from pipelines.features.conversation import FIELD
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.conversations import paired
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource
from pipelines.ingest.tracing import as_written

with epy.lazy_imports():
    import numpy as np

WHERE = "data.source.prompts"
#: What stands for a field in a text: its name in braces.
NAMED = re.compile(r"\{(\w+)\}")


class Prompts(TableSource, name="prompts"):
    """A question and its answer for each example of another source, whose fields stand in both as {field}.

    The groups of the other source stay together.

    Args:
        source: another source, of texts, classes and numbers.
        prompt: what is asked, for instance "Is this kind? {text}".
        answer: what is answered, for instance "{label}".
        words: what an answer is to be called instead, by what it would be.
        otherwise: the same of all others; they stay as they are where not given.
        most: examples, spread evenly over the source's; all of them where not given.
    """

    source: Annotated[Source, WithJsonSchema({"type": ["string", "object"], "description": "another source"})]
    prompt: str = Setting(min_length=1)
    answer: str = Setting(min_length=1)
    words: dict[str, str] = {}
    otherwise: str | None = Setting(None, min_length=1)
    most: int | None = Setting(None, ge=2)

    @property
    def grouped_by(self) -> str | None:  # type: ignore[override]
        """Return what holds the other source's examples together."""
        return self.source.grouped_by

    def fingerprint(self) -> str:
        return f"{self.prompt} {self.answer} {self.words} {self.otherwise} {self.most} {self.source.fingerprint()}"

    def prepare(self) -> None:
        self.source.prepare()

    def ready(self) -> bool:
        return self.source.ready()

    def tables(self) -> Mapping[Part, Table]:
        return _tables(json.dumps(self.model_dump(), sort_keys=True), self.fingerprint())

    def table_of(self, part: Part, fields: Mapping[str, Field]) -> Table:
        """Return the conversations of a part, and what groups them."""
        names = sorted({*NAMED.findall(self.prompt), *NAMED.findall(self.answer)})
        if absent := [name for name in names if name not in fields]:
            raise UserError(f"{WHERE}: {self.source.entry_name} has no field {absent[0]}; it has {', '.join(fields)}")
        columns = {name: self._column(part, name, fields[name]) for name in names}
        rows = len(next(iter(columns.values()))) if columns else 0
        if not rows or not NAMED.search(self.prompt):
            raise UserError(f"{WHERE}.prompt: {self.prompt!r} names no field of {self.source.entry_name}; write one in "
                            f"braces: {', '.join(f'{{{name}}}' for name in fields)}")
        chosen = range(rows) if self.most is None or self.most >= rows else np.linspace(
            0, rows - 1, self.most).round().astype(int).tolist()
        messages = [self._conversation({name: column[row] for name, column in columns.items()}) for row in chosen]
        kept = {FIELD: np.array(messages, object)}
        if self.grouped_by is not None:
            groups = self.source.groups(part, self.grouped_by, list(chosen)) or []
            kept[self.grouped_by] = np.array([group.encode() for group in groups], object)
        return Table(str(self.source.entry_name), kept)

    def _column(self, part: Part, name: str, field: Field) -> list[str]:
        """Return a field's values as words. Raises UserError where they are none."""
        if field.kind not in ("text", "class", "number", "time"):
            raise UserError(f"{WHERE}: the field {name} is {field.kind}; a question is made of texts, classes and "
                            "numbers")
        column = self.source.column(part, name)
        values = column if column is not None else [
            example[name] for example in as_written(self.source.examples)(part).as_numpy_iterator()]
        if field.kind == "class":
            return [(field.names or [])[int(value)] for value in values]
        return [value.decode() if isinstance(value, bytes) else f"{value}" for value in values]

    def _conversation(self, row: Mapping[str, str]) -> bytes:
        prompt, answer = (NAMED.sub(lambda match: row[match[1]], text) for text in (self.prompt, self.answer))
        answer = self.words.get(answer, answer if self.otherwise is None else self.otherwise)
        return json.dumps(paired(prompt, answer), ensure_ascii=False).encode()


@functools.lru_cache(maxsize=2)
def _tables(written: str, fingerprint: str) -> Mapping[Part, Table]:
    """Return the tables of a source by its settings; `fingerprint` changes with the files below."""
    source = Prompts.model_validate_json(written)
    fields = source.source.fields()
    return {part: source.table_of(part, fields) for part in source.source.parts()}
