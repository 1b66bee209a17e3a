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


@pytest.fixture
def passengers(tmp_path, monkeypatch):
    builder = Passengers(data_dir=tmp_path)
    builder.download_and_prepare()
    source = Source.read({"tfds": {"name": "passengers", "data_dir": str(tmp_path)}})
    monkeypatch.setattr(type(source), "builder", lambda self: builder)
    return source


def section_of(source, **settings):
    section = DataSection.model_validate({"source": source, "target": "survived", **settings})
    section.fill(Tabular().data_settings)
    return section


def test_single_values_are_columns(passengers):
    section = section_of(passengers)
    index = build_index(section, Tabular(), 7)
    assert {name: tensor.dtype for name, tensor in index.inputs.items()} == {
        "age": "float32", "siblings": "float32", "sex": "int32", "port": "int32", "alone": "float32"}
    assert index.names("target") == ["died", "survived"] and not index.unreadable
    inputs, targets = Data(section, Tabular(), index, 7).arrays("train", 5)
    assert set(inputs) == set(index.inputs) and targets["target"].shape == (5,)
    words = Data(section, Tabular(), index, 7).sent(inputs)
    assert set(words["sex"].tolist()) <= {b"male", b"female"}
    assert set(words["port"].tolist()) <= {b"Queenstown", b"Southampton"}


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
