"""From a source's fields and a recipe's words to the columns of a table: which are inputs, and as what."""
from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Mapping

from pipelines.entries import nearest
from pipelines.errors import UserError
from pipelines.features.category import Category
from pipelines.features.columns import IGNORE
from pipelines.features.feature import Feature, Field
from pipelines.features.number import Number
from pipelines.features.outcome import Outcome
from pipelines.ingest.sources.table import is_number

#: What the target is called within a run; a column of that name gets another.
TARGET = "target"
#: Names that layers and operations of the models have; a column of such a name gets another.
TAKEN = re.compile(r"(self|target|logits|value|columns|head|wide|in_units|inputs|outputs|scores|classes|cls_token|"
                   r"deep_head|.+_(in|embedding|token|wide)|(hidden|deep)_\d+|(dense|dropout|add|multiply|subtract|"
                   r"reshape|concatenate|embedding|equal|not_equal|where|cast|activation|get_item|zeros_like|"
                   r"layer_normalization|multi_head_attention)(_\d+)?)")
#: A column that names the rows: no input, whatever it holds.
ID = "id"
#: What stands for missing numbers where a recipe does not say it.
USUAL = "mean"


def inputs_of(fields: Mapping[str, Field], columns: Mapping[str, Feature | str], target: str) -> dict[str, Feature]:
    """Return the inputs by their names in the model, in the order of the source.

    Args:
        fields: of the source.
        columns: what the recipe says of some of them.
        target: the field that is learnt.

    Raises:
        UserError: a column is named that is not there, none is left, or one is of a kind that no input is made of.
    """
    for column in columns:
        if column not in fields:
            near = nearest(column, fields)
            raise UserError(f"data.columns: the source has no column {column}; "
                            + (f"did you mean {near}?" if near else f"it has {', '.join(fields)}"))
    if isinstance(columns.get(ID), Feature):
        raise UserError(f"data.columns.{ID}: a column called {ID} names the rows and is no input; give it another name "
                        "in the file")
    if isinstance(columns.get(target), Feature):
        raise UserError(f"data.columns.{target}: this is the target, and cannot be an input too")
    chosen: dict[str, Feature] = {}
    for column, field in fields.items():
        if column not in (target, ID) and columns.get(column) != IGNORE:
            chosen[_name(column, chosen)] = _feature(column, field, columns.get(column))
    if not chosen:
        raise UserError(f"data.columns: no column is left as an input beside the target {target}")
    return chosen


def target_of(fields: Mapping[str, Field], target: str, classes: bool) -> Feature:
    """Return the target.

    Args:
        classes: whether it is a class, and not a number.

    Raises:
        UserError: there is no such field, or it is not what is to be learnt.
    """
    if target == ID:
        raise UserError(f"data.target: a column called {ID} names the rows and cannot be learnt; give it another name "
                        "in the file, or name the column to learn, as in data: {target: price}")
    if target not in fields:
        near = nearest(target, fields)
        raise UserError(f"data.target: the source has no column {target}; it has {', '.join(fields)}. "
                        + (f"Did you mean data: {{target: {near}}}?" if near else
                           "Name the one to learn, as in data: {target: price}"))
    field = fields[target]
    if not classes:
        if field.kind != "number":
            raise UserError(f"data.target: {field.note or f'{target} is {_called(field)}'}; task: {{tabular: "
                            "regression} learns a number. Name another, or learn a class with task: tabular")
        return Number(field=target)
    if field.kind not in Outcome.accepts:
        raise UserError(f"data.target: {target} is {_called(field)}, and a class is a word or a whole number")
    if field.names is None:
        raise UserError(f"data.target: {target} takes too many values for classes; to learn a number, say task: "
                        "{tabular: regression}")
    if len(field.names) < 2:
        raise UserError(f"data.target: {target} has one class only, {', '.join(field.names) or 'the empty one'}; "
                        "there is nothing to tell apart")
    return Outcome(field=target)


def _feature(column: str, field: Field, said: Feature | str | None) -> Feature:
    """Return what an input is made of a field, as the recipe says it or as the field shows it."""
    if field.kind == "time":
        raise UserError(f"data: the column {column} holds dates or times, which no input is made of. Leave it out with "
                        f"data.columns: {{{column}: ignore}}, or write numbers in its place, such as the year or the "
                        "days since")
    if field.kind not in ("number", "text", "class"):
        raise UserError(f"data: the field {column} is {_called(field)}, which is not a column of a table. Leave it out "
                        f"with data.columns: {{{column}: ignore}}")
    if isinstance(said, Category):
        return said.model_copy(update={"field": column})
    if field.kind != "number":
        if field.note:
            raise UserError(f"data: {field.note}. Correct it, or say data.columns: {{{column}: ignore}}, or category "
                            "to take its texts as they are")
        if isinstance(said, Number):
            raise UserError(f"data.columns.{column}: it holds text{example(field)}, and is to be a number; say "
                            "category, or ignore")
        return Category(field=column)
    missing = said.missing if isinstance(said, Number) else None
    return Number(field=column, missing=USUAL if missing is None else missing)


def example(field: Field) -> str:
    """Return a value that is no number, for a message; nothing where the values are too many to know one."""
    words = [name for name in field.names or [] if not is_number(name)] or field.names
    return f", such as {words[0]!r}" if words else ""


def _called(field: Field) -> str:
    return {"bytes": "a file", "text": "text", "class": "a class", "number": "a number", "time": "a date or a time",
            "array": "an array"}[field.kind]


def _name(column: str, taken: Mapping[str, Feature]) -> str:
    """Return what a column's input is called: letters, digits and underscores, and no other input's name."""
    plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", plain).strip("_") or "column"
    if not name[0].isalpha():
        name = f"column_{name}"
    if TAKEN.fullmatch(name) or keyword.iskeyword(name):
        name = f"{name}_column"
    number = 2
    unique = name
    known = {one.lower() for one in taken}  # TensorFlow tells names apart without regard to case
    while unique.lower() in known:
        unique = f"{name}_{number}"
        number += 1
    return unique
