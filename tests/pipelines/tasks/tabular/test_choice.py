"""From columns and a recipe's words to inputs and a target."""
import pytest

from pipelines.errors import UserError
from pipelines.features import Field
from pipelines.features.columns import Columns
from pipelines.tasks.tabular.choice import inputs_of, target_of

FIELDS = {"age": Field(kind="number"), "city": Field(kind="text", names=["Oslo", "Rome"]),
          "year": Field(kind="number", names=["1999", "2000"]), "species": Field(kind="class", names=["cat", "dog"])}


def chosen(fields=FIELDS, target="species", **columns):
    return inputs_of(fields, Columns.model_validate(columns).root, target)


def test_columns_are_what_the_source_shows_unless_the_recipe_says_other():
    usual = chosen()
    assert {name: feature.entry_name for name, feature in usual.items()} == {"age": "number", "city": "category",
                                                                            "year": "number"}
    assert usual["age"].missing == "mean"
    other = chosen(year="category", age={"number": "median"}, city="ignore")
    assert {name: feature.entry_name for name, feature in other.items()} == {"age": "number", "year": "category"}
    assert other["age"].missing == "median" and list(other) == ["age", "year"]


def test_a_column_called_id_names_the_rows():
    fields = {"id": Field(kind="number"), **FIELDS}
    assert "id" not in chosen(fields) and "id" not in chosen(fields, id="ignore")
    with pytest.raises(UserError, match="a column called id names the rows and is no input"):
        chosen(fields, id="category")


def test_inputs_have_names_that_graphs_and_languages_take():
    names = ["Is member?", "size m²", "2nd", "Größe", "target", "dense_1", "größe", "value", "%", "a/b"]
    inputs = chosen({**{name: Field(kind="number") for name in names}, "species": FIELDS["species"]})
    assert list(inputs) == ["Is_member", "size_m2", "column_2nd", "Groe", "target_column", "dense_1_column", "groe_2",
                            "value_column", "column", "a_b"]
    assert [feature.field for feature in inputs.values()] == names and all(name.isidentifier() for name in inputs)


def test_names_that_become_one_are_numbered():
    assert list(chosen({"a b": Field(kind="number"), "a-b": Field(kind="number")}, "x")) == ["a_b", "a_b_2"]


@pytest.mark.parametrize(("fields", "columns", "message"), [
    ({}, {"agee": "number"}, "data.columns: the source has no column agee; did you mean age?"),
    ({"when": Field(kind="time")}, {}, "the column when holds dates or times, which no input is made of. Leave it out "
                                       "with data.columns: {when: ignore}"),
    ({"pixels": Field(kind="array", shape=(3,))}, {}, "the field pixels is an array, which is not a column"),
    ({"rooms": Field(kind="text", note="houses.csv row 3: rooms is 'x' among numbers")}, {},
     "data: houses.csv row 3: rooms is 'x' among numbers. Correct it, or say data.columns: {rooms: ignore}, or "
     "category to take its texts as they are"),
    ({}, {"city": "number"}, "data.columns.city: it holds text, such as 'Oslo', and is to be a number; say category"),
    ({"rooms": Field(kind="text", names=["1", "2", "few"])}, {"rooms": "number"}, "it holds text, such as 'few', and"),
    ({"rooms": Field(kind="text")}, {"rooms": "number"}, "data.columns.rooms: it holds text, and is to be a number"),
    ({}, {"species": "category"}, "data.columns.species: this is the target, and cannot be an input too"),
    ({}, {"age": "ignore", "city": "ignore", "year": "ignore"}, "no column is left as an input")])
def test_columns_that_are_no_inputs_are_refused_in_a_line(fields, columns, message):
    with pytest.raises(UserError) as refused:
        chosen({**FIELDS, **fields}, **columns)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_column_that_is_ignored_may_be_anything():
    fields = {**FIELDS, "when": Field(kind="time"), "rooms": Field(kind="text", note="odd")}
    assert list(chosen(fields, when="ignore", rooms="category")) == ["age", "city", "year", "rooms"]


@pytest.mark.parametrize(("target", "classes", "kind"), [
    ("species", True, "outcome"), ("city", True, "outcome"), ("year", True, "outcome"), ("age", False, "number")])
def test_a_target_is_a_class_or_a_number(target, classes, kind):
    assert target_of(FIELDS, target, classes).entry_name == kind


@pytest.mark.parametrize(("target", "classes", "message"), [
    ("price", True, "data.target: the source has no column price; it has age, city, year, species. Name the one to "
                    "learn, as in data: {target: price}"),
    ("specie", True, "the source has no column specie; it has age, city, year, species. Did you mean data: {target: "
                     "species}?"),
    ("id", True, "data.target: a column called id names the rows and cannot be learnt; give it another name in the "
                 "file, or name the column to learn, as in data: {target: price}"),
    ("age", True, "age takes too many values for classes; to learn a number, say task: {tabular: regression}"),
    ("city", False, "city is text; task: {tabular: regression} learns a number"),
    ("same", True, "same has one class only, 1; there is nothing to tell apart"),
    ("when", True, "when is a date or a time, and a class is a word or a whole number")])
def test_a_target_that_cannot_be_learnt_is_refused(target, classes, message):
    fields = {**FIELDS, "same": Field(kind="number", names=["1"]), "when": Field(kind="time")}
    with pytest.raises(UserError) as refused:
        target_of({name: field for name, field in fields.items() if name in (*FIELDS, target)}, target, classes)
    assert message in str(refused.value) and "\n" not in str(refused.value)
