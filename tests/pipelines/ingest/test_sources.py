"""Sources of images and labels, on real digits and on images written here."""
import gzip

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
import tensorflow_datasets as tfds

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.ingest.sources.idx_files import FashionMnist
from tests.pipelines.ingest.conftest import data_of, index_of


def classes_of(written):
    return Source.read(written).fields()["label"].names


@pytest.mark.parametrize("name", ["digits", "mnist_5k"])
def test_our_sets_are_real_tfds_builders(name):
    builder = Source.read(name).builder()
    assert isinstance(builder, tfds.core.GeneratorBasedBuilder)
    assert builder.name == name
    assert str(builder.version) == "1.0.0"
    assert "author" in builder.info.citation
    assert set(builder.info.features) == {"image", "label"}


def test_digits_are_scikit_learns():
    data = data_of("digits")
    images = np.concatenate([data.arrays(part, 10**6)[0]["image"] for part in data.index.splits])[..., 0]
    expected = np.round(sklearn.datasets.load_digits().images * 255 / 16).astype("uint8")
    assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in expected)


@pytest.mark.parametrize("written", ["digits", "photos"])
def test_a_source_gives_what_it_says_by_name_with_a_name_for_each_example(written, photos):
    source = Source.read({"image_folder": str(photos)} if written == "photos" else written)
    source.prepare()
    fields = source.fields()
    assert {name: field.kind for name, field in fields.items()} == {"image": "bytes", "label": "class"}
    for part in source.parts():
        examples = list(source.examples(part).as_numpy_iterator())
        assert len(examples) == source.size(part)
        assert all(set(example) == {*fields, "id"} for example in examples)
        assert len({example["id"] for example in examples}) == len(examples)
        chosen = list(source.examples(part, [1, 4]).as_numpy_iterator())
        assert [example["id"] for example in chosen] == [examples[1]["id"], examples[4]["id"]]


def test_the_fingerprint_of_a_folder_changes_with_its_files(photos):
    source = Source.read({"image_folder": str(photos)})
    before = source.fingerprint()
    assert source.fingerprint() == before
    (photos / "ash" / "new.png").write_bytes((photos / "ash" / "0.png").read_bytes())
    assert source.fingerprint() != before


@pytest.mark.parametrize(("make", "expected"), [
    (lambda root: None, "is not there"),
    (lambda root: root.write_text(""), "is not a folder"),
    (lambda root: root.mkdir(), "needs one folder per class"),
    (lambda root: (root / "only").mkdir(parents=True), "at least two"),
    (lambda root: [(root / name).mkdir(parents=True) for name in ("a", "b")], "class a has no images"),
    (lambda root: [(root / "test" / name).mkdir(parents=True) for name in ("a", "b")], "no train folder"),
])
def test_a_folder_that_cannot_serve_is_refused(tmp_path, make, expected):
    root = tmp_path / "data"
    make(root)
    with pytest.raises(UserError, match=expected):
        Source.read({"image_folder": str(root)}).fingerprint()


@pytest.fixture
def shards(tmp_path):
    digits = sklearn.datasets.load_digits()
    for shard in range(3):
        with tf.io.TFRecordWriter(str(tmp_path / f"train-{shard}.tfrecord")) as writer:
            for position in range(shard, 300, 3):
                encoded = tf.io.encode_png((digits.images[position] * 15.9).astype("uint8")[..., None]).numpy()
                label = tf.train.Int64List(value=[int(digits.target[position])])
                writer.write(tf.train.Example(features=tf.train.Features(feature={
                    "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
                    "image/class/label": tf.train.Feature(int64_list=label)})).SerializeToString())
    return {"tfrecord": {"train": str(tmp_path / "train-*.tfrecord"), "classes": 10}}


def test_tfrecord_shards_are_read_and_split(shards):
    data = data_of(shards)
    assert sum(split.examples for split in data.index.splits.values()) == 300
    inputs, targets = data.arrays("test", 10**6)
    digits = sklearn.datasets.load_digits()
    known = {(image * 15.9).astype("uint8").tobytes(): label
             for image, label in zip(digits.images, digits.target, strict=True)}
    assert [known[image.tobytes()] for image in inputs["image"]] == targets["label"].tolist()


def test_tfrecord_labels_outside_the_classes_are_refused(shards):
    shards["tfrecord"]["classes"] = 9
    with pytest.raises(UserError, match=r"^data: .*\.tfrecord#\d+ has the label 9, but there are 9 classes, 0 to 8$"):
        index_of(shards)


def test_a_tfrecord_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(UserError, match="no file matches"):
        Source.read({"tfrecord": {"train": str(tmp_path / "*.tfrecord"), "classes": 2}}).fingerprint()


def write_idx(path, array, packed=False):
    content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype("uint8").tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture
def idx_folder(tmp_path):
    """Return a folder of forty images of four classes; the class is the grey level. The test part is packed."""
    for prefix, count, packed in (("train", 40, False), ("t10k", 8, True)):
        labels = np.arange(count) % 4
        ending = ".gz" if packed else ""
        images = np.broadcast_to(60 * labels[:, None, None], (count, 8, 8))
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{ending}", images, packed)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{ending}", labels, packed)
    return tmp_path


def test_idx_files_are_read_and_split(idx_folder):
    data = data_of({"idx": str(idx_folder)})
    assert data.index.names("label") == ["0", "1", "2", "3"]
    assert data.index.counts["test"]["label"] == [2, 2, 2, 2]
    assert data.index.splits["train"].examples + data.index.splits["validation"].examples == 40
    inputs, targets = data.arrays("test", 10**6)
    assert (inputs["image"][:, 0, 0, 0] == 60 * targets["label"]).all()


@pytest.mark.parametrize("harm, expected", [
    (lambda folder: (folder / "train-labels-idx1-ubyte").unlink(), "lacks the train labels"),
    (lambda folder: (folder / "train-images-idx3-ubyte").unlink(), "lacks the train images"),
    (lambda folder: (folder / "train-images-idx3-ubyte").write_bytes(b"GIF89a"), "is not an IDX file"),
    (lambda folder: (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bnothing"), "cannot be read"),
    (lambda folder: write_idx(folder / "train-labels-idx1-ubyte", np.zeros(7)), "do not belong together"),
])
def test_idx_files_that_cannot_serve_are_refused(idx_folder, harm, expected):
    harm(idx_folder)
    with pytest.raises(UserError, match=expected):
        index_of({"idx": str(idx_folder)})


def test_fashion_mnist_comes_from_idx_files_or_from_tfds(idx_folder):
    assert classes_of({"fashion_mnist": str(idx_folder)})[9] == "Ankle boot"
    missing = FashionMnist.model_construct(path="/nowhere")
    with pytest.raises(UserError, match="/nowhere is not a folder"):
        missing.fingerprint()
