"""The source of NumPy files: images and labels, and anything else by name."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from tests.pipelines.ingest.conftest import Pricing, Segmentation, data_of, index_of

IMAGES = np.arange(20 * 4 * 4).reshape(20, 4, 4).astype("uint8")
LABELS = np.arange(20) % 2
GREY = {"image": {"size": 4, "channels": 1}}


def kinds(written):
    return {name: (field.kind, field.shape) for name, field in Source.read(written).fields().items()}


@pytest.mark.parametrize(("images", "labels"), [
    ("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("x", "y")])
def test_images_and_labels_go_by_several_names(arrays, images, labels):
    data = data_of(arrays(**{images: IMAGES, labels: LABELS}), **GREY)
    inputs, targets = data.arrays("train", 10**6)
    positions = data.index.splits["train"].positions
    np.testing.assert_array_equal(inputs["image"][..., 0], IMAGES[positions])
    np.testing.assert_array_equal(targets["label"], LABELS[positions])


def test_labels_may_be_one_hot_and_classes_may_have_names(arrays):
    written = arrays(images=IMAGES, labels=np.eye(5)[np.arange(20) % 5])
    written["arrays"]["class_names"] = list("abcde")
    source = Source.read(written)
    assert source.fields()["label"].names == list("abcde")
    assert [int(example["label"]) for example in source.examples("train")] == [0, 1, 2, 3, 4] * 4


def test_images_alone_are_of_one_class(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    source = Source.read({"arrays": str(tmp_path / "a.npy")})
    assert not source.labelled and source.parts() == ["train"] and source.size("train") == 20
    assert source.fields()["label"].names == ["unlabelled"]
    assert {int(example["label"]) for example in source.examples("train")} == {0}


def test_other_arrays_are_fields_beside_images(arrays):
    masks = (IMAGES > 100).astype("uint8")
    written = arrays(x_train=IMAGES, x_test=IMAGES[:6], train_mask=masks, mask_test=masks[:6], names=np.array(["a"]),
                     train_age=np.arange(20.0), test_age=np.arange(6.0))
    assert kinds(written) == {"image": ("bytes", (4, 4, 1)), "mask": ("array", (4, 4)), "age": ("number", None),
                              "label": ("class", None)}
    data = data_of(written, Segmentation(), **GREY, mask={"classes": 3})
    inputs, targets = data.arrays("test", 10**6)
    np.testing.assert_array_equal(targets["mask"], inputs["image"][..., 0] > 100)


def test_a_table_needs_no_images(arrays):
    generator = np.random.default_rng(0)
    columns, prices = generator.normal(size=(30, 13)), generator.normal(size=30)
    written = arrays(x_train=columns[:20], y_train=prices[:20], x_test=columns[20:], y_test=prices[20:])
    assert kinds(written) == {"x": ("array", (13,)), "y": ("number", None)}
    data = data_of(written, Pricing(), columns={"field": "x"}, price={"field": "y"})
    inputs, targets = data.arrays("test", 10**6)
    np.testing.assert_allclose(inputs["columns"], columns[20:], rtol=1e-6)
    np.testing.assert_allclose(targets["price"], prices[20:], rtol=1e-6)
    assert data.index.splits["train"].positions == list(range(18)), "the last two are validated on"


def test_a_table_may_have_classes(arrays):
    written = arrays(train_columns=np.ones((6, 3)), train_labels=np.arange(6) % 2)
    assert kinds(written) == {"columns": ("array", (3,)), "label": ("class", None)}


def test_an_array_that_no_example_has_an_entry_of_is_not_in_the_way(arrays):
    written = arrays(x=IMAGES, y=LABELS, mean=np.zeros(3), test_ids=np.arange(5))
    assert set(kinds(written)) == {"image", "label"}
    assert Source.read(written).parts() == ["train"]


@pytest.mark.parametrize(("content", "expected"), [
    (dict(x=IMAGES / 255.0, y=LABELS), r"holds values from 0 to 1; give raw pixels"),
    (dict(x=IMAGES.astype("int64") - 5, y=LABELS), "holds values from -5"),
    (dict(x=IMAGES[:0], y=LABELS[:0]), "is empty"),
    (dict(x=IMAGES[0], y=np.arange(4)), r"has the shape \(4, 4\); give images \(examples, height, width\)"),
    (dict(x=IMAGES[..., None].repeat(5, axis=3), y=LABELS), r"has the shape \(20, 4, 4, 5\)"),
    (dict(x=IMAGES, y=np.arange(7)), "has 20 images of the train part and 7 labels"),
    (dict(x=IMAGES, y=LABELS + 0.5), "one word or whole number per image"),
    (dict(x_train=IMAGES, y_train=LABELS, x_test=IMAGES), "has no label of the test part"),
    (dict(pictures=IMAGES), "has no images; it has pictures. Call them x_train and y_train, images and labels"),
    (dict(names=np.array(["a"])), "has no images; it has names"),
])
def test_arrays_that_cannot_serve_are_refused(arrays, content, expected):
    with pytest.raises(UserError, match=expected):
        index_of(arrays(**content), **GREY)


@pytest.mark.parametrize(("content", "expected"), [
    (dict(train_columns=np.ones((6, 3)), train_price=np.ones(5)), "not as many of each in the train part: 6 of col"),
    (dict(train_columns=np.ones((6, 3)), test_columns=np.ones((6, 3)), train_price=np.ones(6)), "has price for some"),
    (dict(train_columns=np.ones((6, 3))), r"no field price; it has columns. Name it in data\.price\.field"),
])
def test_tables_that_cannot_serve_are_refused(arrays, content, expected):
    with pytest.raises(UserError, match=expected):
        index_of(arrays(**content), Pricing())


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"", b"\x93NUMPY"])
def test_a_file_that_is_not_numpys_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match="is not a NumPy file of plain arrays"):
        index_of({"arrays": str(tmp_path / "a.npz")}, **GREY)


def test_the_fingerprint_of_a_file_changes_with_it(arrays):
    written = arrays(x=IMAGES)
    before = Source.read(written).fingerprint()
    arrays(x=IMAGES[:10])
    assert Source.read(written).fingerprint() != before
    with pytest.raises(UserError, match="there is no file"):
        Source.read({"arrays": "none.npz"}).fingerprint()


def masks_of(path, **changes):
    """Write images beside masks in black and white, and return how a recipe names them."""
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 20), ("test", 6)):
        bright = generator.integers(0, 2, (count, 6, 5)).astype("uint8") * 255
        arrays |= {f"x_{part}": bright, f"{part}_mask": bright.copy()}
    np.savez(path / "masks.npz", **(arrays | changes))
    return {"arrays": str(path / "masks.npz")}


def test_what_black_and_white_masks_mean_holds_for_the_test_split_too(tmp_path):
    """Where the training split has 0 and 255 alone, a 1 of the test split is of no class that is known."""
    settings = {"image": {"size": [6, 5], "channels": 1}, "batch": 4}
    learnt = data_of(masks_of(tmp_path), SemanticSegmentation(), **settings).index.learnt["mask"]
    assert learnt.statistics["values"] == [0, 255]
    other = {"test_mask": np.eye(6, 5, dtype="uint8")[None].repeat(6, axis=0)}
    with pytest.raises(UserError, match=r"data: test#0 has a mask with the value 1, but classes are written as 0, 255; "
                                        r"list them in data\.mask\.values"):
        data_of(masks_of(tmp_path, **other), SemanticSegmentation(), **settings)


def test_masks_of_another_size_than_their_images_are_refused(tmp_path):
    small = {"train_mask": np.zeros((20, 3, 5), "uint8"), "test_mask": np.zeros((6, 3, 5), "uint8")}
    with pytest.raises(UserError, match="data: train#0 has a mask of 3 x 5 pixels and an image of 6 x 5"):
        data_of(masks_of(tmp_path, **small), SemanticSegmentation(), image={"size": [6, 5], "channels": 1}, batch=4)
