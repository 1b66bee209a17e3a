"""Rows of a user's file, as the model takes them."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from etils import epy

from pipelines.errors import UserError
from pipelines.features.category import Category
from pipelines.features.feature import Feature
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source
from pipelines.ingest.sources.table import Table, is_number
from pipelines.ingest.sources.table_file import ENDINGS, Csv, TableFile

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


def read(path: Path, features: Mapping[str, Feature], index: Index,
         like: Source | None) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return what each row of a CSV or Parquet file is called, and the inputs, (rows,) each.

    Args:
        like: the source that the model learnt from; how a file of the same kind is written, it says.

    Raises:
        UserError: the file cannot be read, lacks a column, or has a word where a number belongs.
    """
    kind = ENDINGS.get(path.suffix.lower(), Csv)
    source: TableFile = like if isinstance(like, kind) else kind(path=str(path))
    columns = [feature.field_name(name) for name, feature in features.items()]
    rows = source.table_of(path, {column: index.fields[column].kind for column in columns})
    inputs = {name: _column(rows, feature.field_name(name), feature, name, index) for name, feature in features.items()}
    return [rows.row(number) for number in range(rows.rows)], inputs


def _column(rows: Table, column: str, feature: Feature, name: str, index: Index) -> np.ndarray:
    if column in rows.times:
        raise UserError(f"{rows.name} has dates or times in the column {column}, which the model does not know as such")
    if column not in rows.columns:
        raise UserError(f"{rows.name} has no column {column}; it has {', '.join(rows.columns)}. Where it is not known, "
                        "add it without values")
    values = rows.columns[column]
    if isinstance(feature, Category):
        return feature.decode(tf.constant(values), index.learnt[name]).numpy()
    if values.dtype == object:
        texts = [value.decode(errors="replace") for value in values]
        row = next(number for number, text in enumerate(texts) if text and not is_number(text))
        raise UserError(f"{rows.row(row)}: {column} is {texts[row]!r}, and must be a number")
    return values.astype("float32")
