"""What a recipe says of the columns of a table: which are inputs, as what, and which one is the target."""
from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, RootModel, WithJsonSchema
from pydantic_core import PydanticCustomError

from pipelines.entries import ShortSection, nearest
from pipelines.features.category import Category
from pipelines.features.feature import Feature
from pipelines.features.number import Number

#: What a recipe writes of a column that is not an input.
IGNORE = "ignore"
KINDS: dict[str, type[Feature]] = {"number": Number, "category": Category}


def _read(value: Any) -> Feature | str:
    if value == IGNORE:
        return IGNORE
    name, _ = (value.entry_name, None) if isinstance(value, Feature) else Feature.name_and_settings(value)
    if name not in KINDS:
        known = sorted([*KINDS, IGNORE])
        raise PydanticCustomError("unknown_entry", "no such kind", {
            "kind": "kind of column", "entry": name, "nearest": nearest(str(name), known), "known": known})
    return Feature.read(value)  # type: ignore[return-value]


def _written(value: Feature | str) -> Any:
    return value.written() if isinstance(value, Feature) else value


Column = Annotated[Any, PlainValidator(_read), PlainSerializer(_written),
                   WithJsonSchema({"type": ["string", "object"]})]


class Columns(RootModel[dict[str, Column]]):
    """What some columns are, by their names in the source: `number`, `category`, each with its settings, or `ignore`.
    Others are what the source shows them to be."""

    root: dict[str, Column] = {}


class Target(ShortSection, shorthand="field"):
    """The column to learn.

    Args:
        field: what the source calls it.
    """

    field: str = Field("target", min_length=1)
