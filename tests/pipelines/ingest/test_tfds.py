"""Sets of TensorFlow Datasets: what their features become, on builders written here."""
import numpy as np
import pytest
import tensorflow_datasets as tfds

from pipelines.errors import UserError
from pipelines.ingest import Source
from tests.pipelines.ingest.conftest import Pricing, Segmentation, data_of, index_of

COUNT = 12


def image(number):
    return np.full((10, 8, 3), 20 * number, "uint8")


class PixelClasses(tfds.core.GeneratorBasedBuilder):
    """Images with a class for every pixel, another image, and what else a set has."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features
        return tfds.core.DatasetInfo(builder=self, features=features.FeaturesDict({
            "image": features.Image(shape=(10, 8, 3)),
            "segmentation_mask": features.Image(shape=(10, 8, 1)),
            "named_mask": features.LabeledImage(labels=["sky", "tree", "road"], shape=(10, 8, 1)),
            "species": features.ClassLabel(names=["cat", "dog"]),
            "caption": features.Text(),
            "height": np.float64,
            "is_crowd": np.bool_,
            "box": features.BBoxFeature(),
            "id": features.Text(),
            "parts": features.Sequence(np.int64)}), supervised_keys=("image", "species"))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(), "validation": self._generate_examples()}

    def _generate_examples(self):
        for number in range(COUNT):
            mask = (np.arange(80).reshape(10, 8, 1) % 3).astype("uint8")
            yield number, {"image": image(number), "segmentation_mask": mask, "named_mask": mask, "species": number % 2,
                           "caption": f"number {number}", "height": number / 2, "is_crowd": number > 5,
                           "box": tfds.features.BBox(0.0, 0.0, number / COUNT, 1.0), "id": str(number),
                           "parts": [number]}


class Prices(tfds.core.GeneratorBasedBuilder):
    """A table: four numbers, and a fifth."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
            "columns": tfds.features.Tensor(shape=(4,), dtype=np.float32), "price": np.float32}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(COUNT):
            yield number, {"columns": np.arange(4, dtype="float32") + number, "price": float(number)}


@pytest.fixture
def source(tmp_path):
    """Return a function that prepares one of these sets below a temporary folder, and gives the source of it."""

    def prepared(name, **settings):
        written = {"tfds": {"name": name, "data_dir": str(tmp_path), **settings}}
        Source.read(written).prepare()
        return written

    return prepared


def test_features_become_fields_of_their_kind(source):
    fields = Source.read(source("pixel_classes")).fields()
    assert {name: field.kind for name, field in fields.items()} == {
        "image": "bytes", "segmentation_mask": "bytes", "named_mask": "bytes", "species": "class", "label": "class",
        "caption": "text", "height": "number", "is_crowd": "class", "box": "array"}
    assert fields["label"].names == fields["species"].names == ["cat", "dog"]
    assert fields["named_mask"].names == ["sky", "tree", "road"]
    assert fields["segmentation_mask"].shape == (10, 8, 1) and fields["box"].shape == (4,)


def test_examples_have_every_field_and_images_as_files(source):
    examples = list(Source.read(source("pixel_classes")).examples("train").as_numpy_iterator())
    assert len(examples) == COUNT and examples[3]["id"] == b"train#3"
    assert all(example["image"].startswith(b"\x89PNG") for example in examples)
    assert {example["caption"].decode() for example in examples} == {f"number {number}" for number in range(COUNT)}
    assert sorted(float(example["height"]) for example in examples) == [number / 2 for number in range(COUNT)]


def test_images_and_labels_are_classified_whatever_the_set_calls_them(source):
    data = data_of(source("pixel_classes"), image={"size": 8})
    inputs, targets = data.arrays("validation", 10**6)
    assert inputs["image"].shape == (COUNT, 8, 8, 3)
    np.testing.assert_array_equal(targets["label"], inputs["image"][:, 0, 0, 0] // 20 % 2)


@pytest.mark.parametrize(("field", "names"), [
    ("segmentation_mask", ["0", "1", "2"]), ("named_mask", ["sky", "tree", "road"])])
def test_images_and_masks(source, field, names):
    settings = {"image": {"size": [10, 8]}, "mask": {"field": field, "classes": 3}}
    data = data_of(source("pixel_classes"), Segmentation(), **settings)
    assert data.index.targets["mask"].shape == (10, 8) and data.index.names("mask") == names
    _, targets = data.arrays("validation", 10**6)
    np.testing.assert_array_equal(targets["mask"][0], np.arange(80).reshape(10, 8) % 3)
    assert data.index.counts["validation"]["mask"] == [27 * COUNT, 27 * COUNT, 26 * COUNT]


def test_numbers(source):
    data = data_of(source("prices"), Pricing())
    assert data.index.inputs["columns"].shape == (4,) and data.index.targets["price"].shape == ()
    inputs, targets = data.arrays("train", 10**6)
    np.testing.assert_array_equal(inputs["columns"][:, 0], targets["price"])


def test_a_set_may_be_tested_on_another_split(source):
    parts = Source.read(source("pixel_classes", test_on="validation")).parts()
    assert parts == ["train", "test"]
    with pytest.raises(UserError, match=r"has no split tset; it has train, validation"):
        Source.read(source("pixel_classes", test_on="tset")).parts()


def test_a_set_without_images_or_classes_is_refused_for_them(source):
    with pytest.raises(UserError, match=r"prices/1\.0\.0 is not a set of images with one class each; its feat"):
        index_of(source("prices"))


def test_a_prepared_set_is_read_by_its_name(tmp_path):
    own = {"digits": {"data_dir": str(tmp_path)}}
    expected = index_of(own)
    by_name = {"tfds": {"name": "digits:1.0.0", "data_dir": str(tmp_path)}}
    assert Source.read(by_name).ready()
    assert index_of(by_name).model_copy(update={"source": "digits"}) == expected
    assert Source.read("tfds:cifar10:3.0.2").name == "cifar10:3.0.2"


def test_an_unknown_set_is_refused():
    with pytest.raises(UserError, match="no set called 'no_such_set_at_all'"):
        Source.read("tfds:no_such_set_at_all").prepare()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*Set TFDS_DATA_DIR"):
        Source.read({"digits": {"data_dir": str(tmp_path / "file")}}).prepare()
