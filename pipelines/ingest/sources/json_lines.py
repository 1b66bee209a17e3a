"""Tables in files of JSON Lines."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from export.errors import first_line
from pipelines.errors import UserError
from pipelines.ingest.sources.table_file import ENDINGS, TableFile

with epy.lazy_imports():
    import pyarrow as pa
    import pyarrow.json as arrow_json


class JsonLines(TableFile, name="json_lines", shorthand="path"):
    """A table in a file of JSON Lines: an object per row, in a line of its own, whose keys are the columns."""

    what = "JSON Lines"

    def read_file(self, path: Path) -> pa.Table:
        read = arrow_json.ReadOptions(use_threads=False, block_size=min(2**30, max(2**20, path.stat().st_size + 1)))
        try:
            rows = arrow_json.read_json(path, read_options=read)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"data: {path} is not a file of JSON Lines that can be read: {first_line(error)}; each "
                            'line is an object, for instance {"text": "good", "label": "positive"}') from None
        nested = [name for name in rows.column_names if pa.types.is_nested(rows.schema.field(name).type)]
        return rows.drop_columns(nested)


ENDINGS |= {".jsonl": JsonLines, ".ndjson": JsonLines}
