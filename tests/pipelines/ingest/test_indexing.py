"""The index: splits by class, at random and in order; what cannot be read; how often each class occurs."""
import hashlib
import os

import numpy as np
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.ingest.index import Index
from pipelines.ingest.indexing import check_batch
from pipelines.ingest.sources.array_file import Arrays
from pipelines.tasks.task import Task
from tests.pipelines.ingest.conftest import Pricing, Segmentation, index_of


class Drawing(Pricing):
    """Columns and prices, divided at random."""

    split = "random"


def digest(positions):
    return hashlib.sha256(np.array(positions, "int64").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(("name", "expected"), [
    ("digits", ["55ab09680cb7674d", "46c805cc903e1826", "28d0e1fd0db0d5dc"]),
    ("mnist_5k", ["fccf4b6e788dac88", "40ec51054a7947f0", "702746827e553786"])])
def test_a_seed_divides_as_it_always_did(name, expected):
    index = index_of(name)
    assert [digest(index.splits[part].positions) for part in ("train", "validation", "test")] == expected


@pytest.mark.slow
def test_mnist_is_split_by_fifths_of_each_class():
    index = index_of("mnist_5k", image={"size": 28})
    assert index.counts == {"train": {"label": [360] * 10}, "validation": {"label": [40] * 10},
                            "test": {"label": [100] * 10}}
    assert index.summary == "3,600 train / 400 validation / 1,000 test, 10 classes, 0 unreadable"
    assert index.inputs["image"].shape == (28, 28, 3) and index.targets["label"].shape == ()
    assert Index.model_validate_json(index.model_dump_json()) == index


def test_train_and_validation_share_no_example_and_the_seed_decides():
    first, again, other = index_of("digits"), index_of("digits"), index_of("digits", seed=8)
    assert first == again
    assert first.splits["validation"].positions != other.splits["validation"].positions
    assert first.digest == other.digest
    assert not set(first.splits["train"].positions) & set(first.splits["validation"].positions)


def test_a_folder_of_images_in_four_formats_is_split_by_class(photos):
    index = index_of({"image_folder": str(photos)}, image={"size": 6})
    assert index.names("label") == ["ash", "birch", "cedar"]
    assert {part: counts["label"] for part, counts in index.counts.items()} == {
        "train": [14, 14, 14], "validation": [2, 2, 2], "test": [4, 4, 4]}


def test_train_val_test_folders_are_taken_as_they_are(tmp_path):
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                content = tf.io.encode_png(np.zeros((4, 4, 3), "uint8")).numpy()
                (tmp_path / part / name / f"{number}.png").write_bytes(content)
    index = index_of({"image_folder": {"path": str(tmp_path)}})
    assert {part: counts["label"] for part, counts in index.counts.items()} == {
        "train": [5, 5], "validation": [2, 2], "test": [3, 3]}
    assert {part: split.part for part, split in index.splits.items()} == {
        "train": "train", "validation": "validation", "test": "test"}


def table(arrays, count=20):
    return arrays(train_columns=np.arange(count * 3.0).reshape(count, 3), train_price=np.arange(count) / 2)


def test_a_chronological_split_keeps_the_last_for_the_test(arrays):
    splits = index_of(table(arrays), Pricing()).splits
    assert splits["train"].positions == list(range(14))
    assert splits["validation"].positions == [14, 15]
    assert splits["test"].positions == [16, 17, 18, 19]
    assert all(split.part == "train" for split in splits.values())


def test_a_random_split_is_drawn_by_the_seed(arrays):
    first, again, other = (index_of(table(arrays), Drawing(), seed).splits for seed in (1, 1, 2))
    assert first == again and first["test"] != other["test"]
    assert {name: split.examples for name, split in first.items()} == {"train": 14, "validation": 2, "test": 4}
    positions = [position for split in first.values() for position in split.positions]
    assert sorted(positions) == list(range(20))
    assert all(split.positions == sorted(split.positions) for split in first.values())


def test_a_split_by_class_needs_classes(arrays):
    class Unsplit(Pricing):
        """Prices, divided by a class that they do not have."""

        split = Task.split

    with pytest.raises(ValueError, match="divides examples by the classes of price, which has none"):
        index_of(table(arrays), Unsplit())


def test_unreadable_images_are_named_with_the_reason_and_left_out(photos):
    jpeg = (photos / "ash" / "1.jpg").read_bytes()
    (photos / "ash" / "1.jpg").write_bytes(jpeg[:len(jpeg) // 2])
    (photos / "birch" / "0.png").write_bytes(b"")
    (photos / "cedar" / "0.png").write_text("no image")
    index = index_of({"image_folder": str(photos)})
    reasons = {os.path.relpath(one.name, photos): one.reason for one in index.unreadable}
    assert reasons == {"ash/1.jpg": "truncated or damaged", "birch/0.png": "empty file",
                       "cedar/0.png": "not a JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or PPM"}
    positions = [position for split in index.splits.values() for position in split.positions]
    assert len(positions) == len(set(positions)) == 57
    assert sum(sum(counts["label"]) for counts in index.counts.values()) == 57


def test_inputs_that_are_no_numbers_are_unreadable_and_such_targets_refused(arrays):
    columns, prices = np.ones((20, 3)), np.ones(20)
    columns[4, 1] = np.nan
    index = index_of(arrays(train_columns=columns, train_price=prices), Pricing())
    assert [(one.name, one.reason) for one in index.unreadable] == [
        ("train#4", "lacks a number that may not be missing: fill it in, or take the example out")]
    prices[7] = np.inf
    with pytest.raises(UserError, match=r"^data: train#7 has a value that is infinite$"):
        index_of(arrays(train_columns=columns, train_price=prices), Pricing())


def test_masks_are_counted_by_pixels_and_their_classes_checked(arrays):
    masks = np.zeros((20, 4, 4), "uint8")
    masks[:, 0] = 2
    masks[:, 1] = 255
    written = {"x_train": np.zeros((20, 4, 4), "uint8"), "train_mask": masks}
    settings = {"image": {"size": 4, "channels": 1}, "mask": {"classes": 3}}
    index = index_of(arrays(**written), Segmentation(), **settings)
    assert index.counts["test"]["mask"] == [4 * 8, 0, 4 * 4]
    masks[3, 0, 0] = 7
    with pytest.raises(UserError, match=r"^data: train#3 has a mask with the class 7, but there are 3 classes, 0 to 2"):
        index_of(arrays(**written), Segmentation(), **settings)


def test_examples_of_different_sizes_are_read_one_by_one(arrays, monkeypatch):
    original = Arrays.examples

    def unknown_sizes(self, part, positions=None):
        return original(self, part, positions).map(lambda example: {
            **example, "columns": tf.raw_ops.PlaceholderWithDefault(input=example["columns"], shape=[None])})

    written = table(arrays, 300)
    expected = index_of(written, Pricing())
    monkeypatch.setattr(Arrays, "examples", unknown_sizes)
    assert index_of(written, Pricing()) == expected


def test_a_field_that_the_source_lacks_is_named_with_those_it_has(photos):
    with pytest.raises(UserError, match=r"no field picture; it has image, label. Name it in data\.image\.field"):
        index_of({"image_folder": str(photos)}, image={"field": "picture"})
    with pytest.raises(UserError, match=r"label is class, and image is made of bytes. Name another in data\.image"):
        index_of({"image_folder": str(photos)}, image={"field": "label"})


def test_a_split_that_would_be_empty_is_refused(arrays):
    with pytest.raises(UserError, match=r"the test split is empty; 1 training examples were found\. Add examples, or "):
        index_of(table(arrays, 1), Pricing())


def test_a_batch_larger_than_the_data_is_refused():
    check_batch(4, 4)
    with pytest.raises(UserError, match=r"data\.batch is 5, but there are only 4 training examples; give a smaller"):
        check_batch(5, 4)
