"""Tables for models that were made elsewhere: which columns they take, and which one they answer."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.keras_models.imported import plain
from export.signature import Signature, shown
from pipelines.errors import UserError
from pipelines.features.columns import IGNORE
from pipelines.features.feature import Feature, Field
from pipelines.features.number import Number
from pipelines.ingest import Source
from pipelines.ingest.sources.table_file import ENDINGS
from pipelines.ingest.sources.table_source import TableSource
from pipelines.tasks.tabular.choice import example, inputs_of, target_of

with epy.lazy_imports():
    import numpy as np


def sections(data: str, signature: Signature, target: str, classes: bool) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe's section `data`, and the names of the columns that a model takes, in its order.

    Args:
        data: a .csv or .parquet file, or a source of tables by its name.
        signature: the model's inputs: one vector of all columns of numbers, in the table's order, or one for each, by
            its name.
        target: the column that it answers.
        classes: whether that is a class, and not a number.

    Raises:
        UserError: the table cannot be read, or does not fit the model.
    """
    source = _source(data)
    fields = source.fields()
    if target not in fields:
        raise UserError(f"--data {data}: it has no column {target}; name the one that the model answers with "
                        f"--target-column: it has {', '.join(fields)}")
    target_of(fields, target, classes)
    others = {column: IGNORE for column, field in fields.items() if field.kind != "number" and column != target}
    numbers = {name: feature for name, feature in inputs_of(fields, others, target).items()
               if isinstance(feature, Number)}
    chosen = _chosen(data, signature, numbers, _words(fields, target))
    _check_whole(data, source, [numbers[name].field_name(name) for name in chosen])
    others |= {feature.field_name(name): IGNORE for name, feature in numbers.items() if name not in chosen}
    return {"source": source.written(), "columns": others, "target": target}, chosen


def _source(data: str) -> TableSource:
    if kind := ENDINGS.get(Path(data).suffix.lower()):
        if not Path(data).is_file():
            raise UserError(f"--data {data}: there is no such file")
        return kind(path=data)
    try:
        source = Source.read(data)
    except ValueError:
        source = None
    if not isinstance(source, TableSource):
        raise UserError(f"--data {data}: this is no table; give a .csv or .parquet file, or wine, breast_cancer or "
                        "diabetes")
    return source


def _words(fields: Mapping[str, Field], target: str) -> str:
    """Return which columns are not of numbers, and what is odd about them, for a message."""
    others = [field.note or f"{column}{example(field)}" for column, field in fields.items()
              if field.kind != "number" and column != target]
    return f". Not of numbers: {'; '.join(others)}" if others else ""


def _chosen(data: str, signature: Signature, numbers: Mapping[str, Feature], words: str) -> list[str]:
    """Return the columns that a model takes, in its order.

    Args:
        words: what is said of the columns that are not of numbers.

    Raises:
        UserError: they are not in the table.
    """
    first, *others = signature.inputs
    if not others and len(first.shape) == 1 and (first.shape[0] != 1 or len(numbers) == 1):
        if first.shape[0] != len(numbers):
            raise UserError(f"--data {data}: the model takes one vector, {shown((None, *first.shape))}, and the table "
                            f"has {len(numbers)} columns of numbers beside what it answers: "
                            f"{', '.join(numbers)}{words}")
        return list(numbers)
    if any(len(tensor.shape) > 1 for tensor in signature.inputs):
        listed = ", ".join(f"{tensor.name} {shown((None, *tensor.shape))}" for tensor in signature.inputs)
        raise UserError(f"--task tabular: the model takes {listed}; it must be one vector of numbers, or one number "
                        "for each column")
    fields = {feature.field_name(name): name for name, feature in numbers.items()}
    names = {**{plain(field): name for field, name in fields.items()}, **fields}
    for tensor in signature.inputs:
        if tensor.name not in names:
            raise UserError(f"--data {data}: it has no column of numbers {tensor.name}, which the model takes; it has "
                            f"{', '.join(fields)}{words}")
    return [names[tensor.name] for tensor in signature.inputs]


def _check_whole(data: str, source: TableSource, columns: list[str]) -> None:
    """Raise UserError where a number is missing: a model made elsewhere does not say what stands for it."""
    for table in source.tables().values():
        for column in columns:
            values = table.columns[column]
            if values.dtype != object and np.isnan(values).any():
                raise UserError(f"--data {data}: {table.row(int(np.isnan(values).argmax()))}: {column} is missing, and "
                                "the model does not say what stands for that; fill it in, or take the row out")
