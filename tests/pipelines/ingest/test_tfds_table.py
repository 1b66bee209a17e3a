"""A set of TensorFlow Datasets whose features are single values, as a table."""
import numpy as np
import pytest
import tensorflow_datasets as tfds

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.tabular import Tabular
from pipelines.tools.few_examples import few_examples

COUNT = 40


class Nested(tfds.core.GeneratorBasedBuilder):
    """What is known of passengers in a dict, as TFDS has some tables; two values are called age."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        inner = tfds.features.FeaturesDict({"age": np.float32, "port": tfds.features.Text(), "alone": np.bool_,
                                            "ticket": {"fare": np.float32}})
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
            "features": inner, "age": np.int32, "survived": np.int32, "group": tfds.features.Text()}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(COUNT):
            inner = {"age": number / 2, "port": "AB"[number % 2], "alone": number > 5, "ticket": {"fare": number + 0.5}}
            yield number, {"features": inner, "age": number, "survived": number % 3 == 0, "group": "xyz"[number % 3]}


class Passengers(tfds.core.GeneratorBasedBuilder):
    """Passengers: numbers, a class as an input, text, a truth value, and whether they survived."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features
        return tfds.core.DatasetInfo(builder=self, features=features.FeaturesDict({
            "age": np.float32, "siblings": np.int64, "sex": features.ClassLabel(names=["male", "female"]),
            "port": features.Text(), "alone": np.bool_, "survived": features.ClassLabel(names=["died", "survived"])}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(COUNT):
            yield number, {"age": np.nan if number % 8 == 0 else 20.0 + number, "siblings": number % 3,
                           "sex": number % 2, "port": ["Queenstown", "Southampton"][number % 2], "alone": number > 5,
                           "survived": int(number % 4 == 0)}


def prepared(kind, tmp_path, monkeypatch):
    """Return the source of a set that is written below a temporary folder."""
    builder = kind(data_dir=tmp_path)
    builder.download_and_prepare()
    source = Source.read({"tfds": {"name": kind.__name__.lower(), "data_dir": str(tmp_path)}})
    monkeypatch.setattr(type(source), "builder", lambda self: builder)
    return source


@pytest.fixture
def nested(tmp_path, monkeypatch):
    return prepared(Nested, tmp_path, monkeypatch)


@pytest.fixture
def passengers(tmp_path, monkeypatch):
    return prepared(Passengers, tmp_path, monkeypatch)


def section_of(source, **settings):
    section = DataSection.model_validate({"source": source, "target": "survived", **settings})
    section.fill(Tabular().data_settings)
    return section


def test_single_values_are_columns(passengers):
    section = section_of(passengers)
    index = build_index(section, Tabular(), 7)
    assert {name: tensor.dtype for name, tensor in index.inputs.items()} == {
        "age": "float32", "siblings": "float32", "sex": "int32", "port": "int32", "alone": "int32"}
    assert index.names("target") == ["died", "survived"] and not index.unreadable
    inputs, targets = Data(section, Tabular(), index, 7).arrays("train", 5)
    assert set(inputs) == set(index.inputs) and targets["target"].shape == (5,)
    words = Data(section, Tabular(), index, 7).sent(inputs)
    assert set(words["sex"].tolist()) <= {b"male", b"female"}
    assert set(words["port"].tolist()) <= {b"Queenstown", b"Southampton"}
    assert index.inputs["alone"].words == ("(unknown)", "false", "true") and set(words["alone"]) <= {b"false", b"true"}
    assert sum(int(row["alone"]) for row in passengers.examples("train")) == COUNT - 6


def test_the_values_of_a_dict_are_columns(nested):
    fields = nested.fields()
    assert {name: field.kind for name, field in fields.items()} == {
        "features.age": "number", "age": "number", "port": "text", "alone": "class", "fare": "number",
        "survived": "number", "group": "text"}
    assert fields["survived"].names == ["0", "1"] and fields["group"].names == ["x", "y", "z"]
    assert fields["fare"].names is None and fields["age"].names == [str(number) for number in range(COUNT)]
    rows = sorted(nested.examples("train").as_numpy_iterator(), key=lambda row: row["age"])
    assert [row["features.age"] for row in rows] == [number / 2 for number in range(COUNT)]
    assert [row["fare"] for row in rows] == [number + 0.5 for number in range(COUNT)]


@pytest.mark.parametrize(("target", "classes"), [("survived", ["0", "1"]), ("group", ["x", "y", "z"]),
                                                 ("alone", ["false", "true"])])
def test_whole_numbers_texts_and_truth_values_are_classes(nested, target, classes):
    section = section_of(nested, target=target)
    index = build_index(section, Tabular(), 7)
    assert index.names("target") == classes and sum(index.counts["train"]["target"]) > COUNT / 2
    assert "features_age" in index.inputs and "survived_column" not in index.inputs
    _, targets = Data(section, Tabular(), index, 7).arrays("train", 10)
    assert set(targets["target"].tolist()) <= set(range(len(classes)))


def test_a_number_with_fractions_is_no_class(nested):
    with pytest.raises(UserError, match="fare takes too many values for classes; to learn a number"):
        build_index(section_of(nested, target="fare"), Tabular(), 7)


@pytest.mark.parametrize("target", ["survived", "group", "alone"])
def test_a_nested_set_that_is_not_downloaded_is_checked_on_random_rows(nested, monkeypatch, target):
    monkeypatch.setattr(type(nested), "ready", lambda self: False)
    recipe = Recipe.model_validate({"name": "n", "task": "tabular", "data": {"source": nested, "target": target},
                                    "model": {"builder": "mlp"}})
    inputs, targets = few_examples(recipe, 8).arrays("train", 8)
    assert set(targets["target"].tolist()) == {0, 1} and all(values.shape == (8,) for values in inputs.values())


def test_a_set_of_images_is_no_table(passengers):
    with pytest.raises(UserError, match="the source has no column price; it has age, siblings, sex, port"):
        build_index(section_of(passengers, target="price"), Tabular(), 7)


def test_a_set_that_is_not_downloaded_is_checked_on_random_rows(passengers, monkeypatch):
    monkeypatch.setattr(type(passengers), "ready", lambda self: False)
    settings = {"source": passengers, "target": "survived"}
    recipe = Recipe.model_validate({"name": "p", "task": "tabular", "data": settings, "model": {"builder": "mlp"}})
    data = few_examples(recipe, 8)
    inputs, targets = data.arrays("train", 8)
    assert set(targets["target"].tolist()) == {0, 1}
    assert all(values.shape == (8,) for values in inputs.values())
    assert all((inputs[name] < len(data.index.inputs[name].words)).all() for name in ("sex", "port"))
