"""Sources, splits and streams, on real digits and on pictures written here."""
import gzip
import itertools
import os

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
import tensorflow_datasets as tfds

from pipelines.errors import UserError
from pipelines.ingest import Source, stream
from pipelines.ingest.augmentation.augment import Augmentation
from pipelines.ingest.indexing import build_index
from pipelines.ingest.pictures import ImageSettings, decode, fit
from pipelines.ingest.sources.idx_files import FashionMnist

EIGHT = ImageSettings(size=8, channels=1)


def stock(source, image=EIGHT, **settings):
    source.prepare()
    return build_index(source, image, **{"validation": 0.1, "test": 0.2, "seed": 7, **settings})


@pytest.fixture
def photos(tmp_path):
    """A folder of 3 classes with 20 pictures each, in the four formats; the class is the grey level."""
    writers = {"png": tf.io.encode_png, "jpg": lambda picture: tf.io.encode_jpeg(picture, quality=100)}
    for number, name in enumerate(("ash", "birch", "cedar")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for count in range(20):
            picture = np.full((10, 12, 3), 60 + 80 * number, "uint8")
            ending = ("png", "jpg", "bmp", "gif")[count % 4]
            path = tmp_path / "photos" / name / f"{count}.{ending}"
            if ending in writers:
                path.write_bytes(writers[ending](picture).numpy())
            else:
                import PIL.Image

                PIL.Image.fromarray(picture).save(path)
    return tmp_path / "photos"


@pytest.mark.parametrize("name", ["digits", "mnist_5k"])
def test_our_sets_are_real_tfds_builders(name):
    builder = Source.read(name).builder()
    assert isinstance(builder, tfds.core.GeneratorBasedBuilder)
    assert builder.name == name
    assert str(builder.version) == "1.0.0"
    assert "author" in builder.info.citation
    assert set(builder.info.features) == {"image", "label"}


def test_digits_are_scikit_learns():
    source = Source.read("digits")
    source.prepare()
    pictures = [decode(encoded, EIGHT).numpy()[..., 0] for part in ("train", "test") for encoded, _, _ in source.raw(part)]
    expected = np.round(sklearn.datasets.load_digits().images * 255 / 16).astype("uint8")
    assert sorted(picture.tobytes() for picture in pictures) == sorted(picture.tobytes() for picture in expected)


def test_mnist_is_split_by_fifths_of_each_class():
    index = stock(Source.read("mnist_5k"), ImageSettings(size=28))
    assert index.splits["test"].class_counts == [100] * 10
    assert index.splits["train"].class_counts == [360] * 10
    assert index.splits["validation"].class_counts == [40] * 10
    assert index.summary == "3,600 train / 400 validation / 1,000 test, 10 classes, 0 unreadable"


def test_train_and_validation_share_no_example_and_the_seed_decides():
    source = Source.read("digits")
    first, again, other = stock(source), stock(source), stock(source, seed=8)
    assert first == again
    assert first.splits["validation"].positions != other.splits["validation"].positions
    assert first.digest == other.digest
    assert not set(first.splits["train"].positions) & set(first.splits["validation"].positions)


def test_a_folder_of_pictures_in_four_formats_is_split_by_class(photos):
    source = Source.read({"image_folder": str(photos)})
    index = stock(source, ImageSettings(size=6))
    assert index.classes == ["ash", "birch", "cedar"]
    assert index.splits["test"].class_counts == [4, 4, 4]
    assert index.splits["validation"].class_counts == [2, 2, 2]
    assert index.splits["train"].class_counts == [14, 14, 14]
    images, labels = stream.arrays(stream.examples(source, index, ImageSettings(size=6), "train"))
    assert images.shape == (42, 6, 6, 3)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), 60 + 80 * labels, atol=2)


def test_train_val_test_folders_are_taken_as_they_are(tmp_path):
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / part / name / f"{number}.png").write_bytes(tf.io.encode_png(np.zeros((4, 4, 3), "uint8")).numpy())
    index = stock(Source.read({"image_folder": {"path": str(tmp_path)}}))
    assert {name: split.class_counts for name, split in index.splits.items()} == {"train": [5, 5], "validation": [2, 2], "test": [3, 3]}


def test_unreadable_pictures_are_named_with_the_reason_and_left_out(photos):
    jpeg = (photos / "ash" / "1.jpg").read_bytes()
    (photos / "ash" / "1.jpg").write_bytes(jpeg[:len(jpeg) // 2])
    (photos / "birch" / "0.png").write_bytes(b"")
    (photos / "cedar" / "0.png").write_text("no picture")
    source = Source.read({"image_folder": str(photos)})
    index = stock(source)
    found = {os.path.relpath(one.name, photos): one.reason for one in index.unreadable}
    assert found == {"ash/1.jpg": "truncated or damaged", "birch/0.png": "empty file", "cedar/0.png": "not a JPEG, PNG, BMP or GIF"}
    assert sum(split.examples for split in index.splits.values()) == 57
    names = {name.decode() for part in index.splits for _, _, name in
             source.raw("train", index.splits[part].positions).as_numpy_iterator()}
    assert len(names) == 57 and not names & {one.name for one in index.unreadable}


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
    (lambda root: [(root / name).mkdir(parents=True) for name in ("a", "b")], "class a has no pictures"),
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
            for place in range(shard, 300, 3):
                encoded = tf.io.encode_png((digits.images[place] * 15.9).astype("uint8")[..., None]).numpy()
                writer.write(tf.train.Example(features=tf.train.Features(feature={
                    "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
                    "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(digits.target[place])]))
                })).SerializeToString())
    return tmp_path


def test_tfrecord_shards_are_read_and_split(shards):
    source = Source.read({"tfrecord": {"train": str(shards / "train-*.tfrecord"), "classes": 10}})
    index = stock(source)
    assert sum(split.examples for split in index.splits.values()) == 300
    images, labels = stream.arrays(stream.examples(source, index, EIGHT, "test"))
    digits = sklearn.datasets.load_digits()
    known = {(picture * 15.9).astype("uint8").tobytes(): label for picture, label in zip(digits.images, digits.target, strict=True)}
    assert [known[image.tobytes()] for image in images] == labels.tolist()


def test_tfrecord_labels_outside_the_classes_are_refused(shards):
    with pytest.raises(UserError, match="has the label 9, but there are 9 classes, 0 to 8"):
        stock(Source.read({"tfrecord": {"train": str(shards / "train-*.tfrecord"), "classes": 9}}))


def test_a_tfrecord_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(UserError, match="no file matches"):
        Source.read({"tfrecord": {"train": str(tmp_path / "*.tfrecord"), "classes": 2}}).fingerprint()


def test_a_prepared_tfds_set_is_read_by_its_name(tmp_path):
    own = Source.read({"digits": {"data_dir": str(tmp_path)}})
    own.prepare()
    by_name = Source.read({"tfds": {"name": "digits:1.0.0", "data_dir": str(tmp_path)}})
    assert by_name.ready()
    assert stock(by_name).model_copy(update={"source": "digits"}) == stock(own)
    assert Source.read("tfds:cifar10:3.0.2").name == "cifar10:3.0.2"


def test_an_unknown_tfds_set_is_refused():
    with pytest.raises(UserError, match="no set called 'no_such_set_at_all'"):
        Source.read("tfds:no_such_set_at_all").prepare()


def batches(first_epoch, epochs, seed=7):
    source = Source.read("digits")
    index = stock(source)
    dataset = stream.examples(source, index, EIGHT, "train")
    found = stream.training_batches(
        dataset, classes=10, batch=64, augmentations=[Augmentation.read({"shift": 0.2}), Augmentation.read({"mixup": 0.2})],
        seed=seed, first_epoch=first_epoch, epochs=epochs)
    return list(found.as_numpy_iterator())


def test_the_same_seed_gives_the_same_batches_wherever_training_starts():
    whole, rest, other = batches(0, 3), batches(1, 3), batches(0, 3, seed=8)
    steps = len(whole) // 3
    for (images, targets), (own_images, own_targets) in zip(whole[steps:], rest, strict=True):
        np.testing.assert_array_equal(images, own_images)
        np.testing.assert_array_equal(targets, own_targets)
    assert (whole[0][0] != other[0][0]).any()
    assert (whole[0][0] != whole[steps][0]).any(), "every epoch has an order and an augmentation of its own"


def test_the_seed_may_be_zero():
    stream.set_seed(0)
    assert batches(0, 1, seed=0)[0][0].shape[0] > 0
    stream.set_seed(1)


def test_an_epoch_shows_every_example_once():
    source = Source.read("digits")
    index = stock(source)
    dataset = stream.examples(source, index, EIGHT, "train")
    count = index.splits["train"].examples
    batch = next(size for size in itertools.count(2) if count % size == 0)
    found = stream.training_batches(dataset, classes=10, batch=batch, augmentations=[], seed=1, first_epoch=0, epochs=1)
    shown = sorted(image.astype("uint8").tobytes() for images, _ in found.as_numpy_iterator() for image in images)
    assert shown == sorted(image.tobytes() for image in stream.arrays(dataset)[0])


@pytest.mark.parametrize(("settings", "expected"), [
    (ImageSettings(size=(4, 6)), (4, 6, 3)), (ImageSettings(size=20, fit="pad"), (20, 20, 3)),
    (ImageSettings(size=5, channels=1), (5, 5, 1))])
def test_pictures_come_out_in_the_shape_that_was_asked_for(settings, expected):
    grey, colour, with_alpha = (np.zeros((10, 8, channels), "uint8") for channels in (1, 3, 4))
    for picture in (grey, colour, with_alpha):
        assert fit(tf.constant(picture), settings).shape == expected


def test_padding_keeps_the_pixels_in_the_middle():
    picture = np.arange(28 * 28, dtype="uint16").reshape(28, 28, 1).astype("uint8")
    padded = fit(tf.constant(picture), ImageSettings(size=32, channels=1, fit="pad")).numpy()
    np.testing.assert_array_equal(padded[2:30, 2:30], picture)
    assert padded.sum() == picture.astype(int).sum()


def write_idx(path, array, packed=False):
    content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype("uint8").tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture
def idx_folder(tmp_path):
    """Forty pictures of four classes; the class is the grey level. The test part is packed."""
    for prefix, count, packed in (("train", 40, False), ("t10k", 8, True)):
        labels = np.arange(count) % 4
        ending = ".gz" if packed else ""
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{ending}", np.broadcast_to(60 * labels[:, None, None], (count, 8, 8)), packed)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{ending}", labels, packed)
    return tmp_path


def test_idx_files_are_read_and_split(idx_folder):
    source = Source.read({"idx": str(idx_folder)})
    index = stock(source)
    assert index.classes == ["0", "1", "2", "3"]
    assert index.splits["test"].class_counts == [2, 2, 2, 2]
    assert index.splits["train"].examples + index.splits["validation"].examples == 40
    pictures, labels = stream.arrays(stream.examples(source, index, EIGHT, "test"))
    assert (pictures[:, 0, 0, 0] == 60 * labels).all()


@pytest.mark.parametrize("harm, expected", [
    (lambda folder: (folder / "train-labels-idx1-ubyte").unlink(), "lacks the train labels"),
    (lambda folder: (folder / "train-images-idx3-ubyte").unlink(), "lacks the train images"),
    (lambda folder: (folder / "train-images-idx3-ubyte").write_bytes(b"GIF89a"), "is no IDX file"),
    (lambda folder: (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bnothing"), "cannot be read"),
    (lambda folder: write_idx(folder / "train-labels-idx1-ubyte", np.zeros(7)), "do not belong together"),
])
def test_idx_files_that_cannot_serve_are_refused(idx_folder, harm, expected):
    harm(idx_folder)
    with pytest.raises(UserError, match=expected):
        stock(Source.read({"idx": str(idx_folder)}))


def test_fashion_mnist_comes_from_idx_files_or_from_tfds(idx_folder):
    assert stock(Source.read({"fashion_mnist": str(idx_folder)})).classes[9] == "Ankle boot"
    missing = FashionMnist.model_construct(path="/nowhere")
    with pytest.raises(UserError, match="/nowhere is no folder"):
        missing.fingerprint()
