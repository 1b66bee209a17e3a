"""Data: decoded examples, and the batches of a training, which depend on the seed and the epoch alone."""
import hashlib
import itertools
import pickle

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.features.image import Image
from pipelines.features.label import Label
from pipelines.features.mask import Mask
from pipelines.features.number import Number
from pipelines.ingest import data as data_module
from pipelines.ingest.data import Data, set_seed
from pipelines.ingest.sources.array_file import Arrays
from pipelines.ingest.sources.tfds_source import Digits
from pipelines.tasks.task import Task
from tests.pipelines.ingest.conftest import Pricing, Segmentation, data_of


class Weighing(Task):
    """A class and a number, of two images and a number."""

    inputs = {"front": Image, "side": Image, "length": Number}
    targets = {"label": Label, "weight": Number}


def weighing(arrays):
    generator = np.random.default_rng(0)
    written = arrays(x_train=generator.integers(0, 256, (24, 6, 8)).astype("uint8"), y_train=np.arange(24) % 3,
                     train_length=np.arange(24.0), train_weight=np.arange(24.0) ** 2)
    images = {"front": {"field": "image", "size": [6, 8], "channels": 1}, "side": {"field": "image", "size": 4}}
    return data_of(written, Weighing(), **images, batch=5)


def flattened(dataset):
    return [inputs | targets for inputs, targets in dataset.as_numpy_iterator()]


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert set(batch) == set(other)
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name])


def digits(seed=7, batch=64, augment=({"shift": 0.2}, {"mixup": 0.2})):
    return data_of("digits", seed=seed, batch=batch, augment=list(augment))


def projected(values):
    """Return the values' product with fixed random numbers: other values, or another order, give another."""
    return float(np.vdot(values.astype("float64").ravel(), np.random.default_rng(0).standard_normal(values.size)))


#: Projections of images and of targets over two epochs, of the code that image recipes were first trained with.
ORIGINAL = [
    ([], -16347.564, 1.396), ([{"rotate": 20}], -16893.712, 1.396), ([{"shift": 0.2}], 11389.125, 1.396),
    ([{"zoom": 0.3}], -6699.392, 1.396), (["flip"], -19943.485, 1.396), ([{"crop": 2}], 7279.215, 1.396),
    ([{"cutout": 0.4}], -24115.165, 1.396), ([{"mixup": 0.4}], -5451.725, -1.547), (["cutmix"], -21552.526, -1.857),
    (["random_erasing"], -7350.55, 1.396), (["color_jitter"], -16446.495, 1.396), (["rand_augment"], -16132.319, 1.396),
    (["augmix"], -16102.752, 1.396), (["resized_crop"], -12554.566, 1.396),
    ([{"rotate": 20}, {"shift": 0.2}, {"mixup": 0.4}, "flip", {"crop": 2}, "cutmix", "color_jitter", {"zoom": 0.3},
      "rand_augment"], -5725.938, 2.299)]


@pytest.mark.parametrize(("augment", "images", "targets"), ORIGINAL, ids=lambda value: str(value)[:30])
def test_a_training_sees_the_very_batches_that_it_always_saw(arrays, augment, images, targets):
    generator = np.random.default_rng(5)
    labels, pixels = generator.integers(0, 4, 120), generator.integers(0, 256, (120, 10, 12, 3)).astype("uint8")
    written = arrays(x_train=pixels[:96], y_train=labels[:96], x_test=pixels[96:], y_test=labels[96:])
    set_seed(7)
    data = data_of(written, image={"size": [10, 12]}, validation=0.25, test=0.25, batch=16, augment=augment)
    batches = flattened(data.training(0, 2))
    values, answers = (np.stack([batch[name] for batch in batches]) for name in ("image", "label"))
    assert values.shape == (8, 16, 10, 12, 3) and values.dtype == answers.dtype == np.float32
    assert projected(values) == pytest.approx(images, abs=0.5)
    assert projected(answers) == pytest.approx(targets, abs=1e-3)
    if not augment:
        assert hashlib.sha256(values.tobytes()).hexdigest().startswith("77f757b2a6b876154151c35c0e10d4e0")
        assert hashlib.sha256(answers.tobytes()).hexdigest().startswith("0ad27d0f5fc078af5bd5d87fe3c706bb")


def test_the_same_seed_gives_the_same_batches_wherever_training_starts():
    data = digits()
    whole, rest, other = flattened(data.training(0, 3)), flattened(data.training(1, 3)), digits(seed=8).training(0, 3)
    assert len(whole) == 3 * data.steps == int(data.training(0, 3).cardinality())
    assert_same(whole[data.steps:], rest)
    assert (whole[0]["image"] != flattened(other)[0]["image"]).any()
    assert (whole[0]["image"] != whole[data.steps]["image"]).any(), "every epoch has its own order and augmentation"


def test_the_seed_may_be_zero():
    set_seed(0)
    assert len(flattened(digits(seed=0).training(0, 1))[0]["image"]) == 64
    set_seed(1)


def test_an_epoch_shows_every_example_once():
    count = digits().index.splits["train"].examples
    data = digits(batch=next(size for size in itertools.count(2) if count % size == 0), augment=())
    shown = [image.astype("uint8").tobytes() for batch in flattened(data.training(0, 1)) for image in batch["image"]]
    assert sorted(shown) == sorted(image.tobytes() for image in data.arrays("train", count)[0]["image"])


def test_examples_are_decoded_in_a_fixed_order(photos):
    data = data_of({"image_folder": str(photos)}, image={"size": 6})
    inputs, targets = data.arrays("train", 10**6)
    assert inputs["image"].shape == (42, 6, 6, 3) and inputs["image"].dtype == np.uint8
    assert targets["label"].shape == (42,) and targets["label"].dtype == np.int64
    np.testing.assert_allclose(inputs["image"].mean(axis=(1, 2, 3)), 60 + 80 * targets["label"], atol=2)
    batches = list(data.batches("train", 10))
    assert all(values.flags.writeable for part in batches[0] for values in part.values())
    assert [len(targets["label"]) for _, targets in batches] == [10, 10, 10, 10, 2]
    np.testing.assert_array_equal(np.concatenate([inputs["image"] for inputs, _ in batches]), inputs["image"])
    assert int(data.examples("train").cardinality()) == 42


def test_examples_are_given_in_the_order_asked_for():
    data = digits()
    known = sklearn.datasets.load_digits()
    everything, targets = data.arrays("test", 10**6)
    some, some_targets = data.arrays("test", [30, 2, 2, 7])
    np.testing.assert_array_equal(some["image"], everything["image"][[30, 2, 2, 7]])
    np.testing.assert_array_equal(some_targets["label"], targets["label"][[30, 2, 2, 7]])
    first, _ = data.arrays("test", np.int64(3))
    np.testing.assert_array_equal(first["image"], everything["image"][:3])
    nothing, no_targets = data.arrays("test", [])
    assert nothing["image"].shape == (0, 8, 8, 1) and no_targets["label"].shape == (0,)
    assert len(everything["image"]) == len(known.images) // 5
    first["image"][:] = 0


def test_only_training_and_validation_keep_examples_in_memory(monkeypatch):
    reads, original = [], Digits.examples

    def counted(self, part, positions=None):
        return original(self, part, positions).map(lambda example: (
            tf.py_function(lambda: reads.append(part), [], []), example)[1])

    data = digits()
    monkeypatch.setattr(Digits, "examples", counted)
    counts = {part: split.examples for part, split in data.index.splits.items()}
    flattened(data.training(0, 2))
    flattened(data.training(0, 1))
    assert len(reads) == counts["train"]
    flattened(data.validation())
    flattened(data.validation())
    assert len(reads) == counts["train"] + counts["validation"]
    reads.clear()
    data.arrays("test", 10**6)
    list(data.batches("test"))
    list(data.batches("test"))
    assert len(reads) == 3 * counts["test"]
    reads.clear()
    monkeypatch.setattr(data_module, "MEMORY", 0)
    large = pickle.loads(pickle.dumps(data))
    flattened(large.validation())
    flattened(large.validation())
    assert len(reads) == 2 * counts["validation"]


def test_a_batch_is_as_large_as_memory_allows(monkeypatch):
    data = data_of("digits", image={"size": 224, "channels": 3})
    assert data.batch_size == 256
    assert [len(inputs["image"]) for inputs, _ in data.validation().take(1).as_numpy_iterator()] == [
        min(256, data.index.splits["validation"].examples)]
    monkeypatch.setattr(data_module, "BATCH_BYTES", 10 * (224 * 224 * 3 + 40))
    assert data.batch_size == 10
    assert len(next(data.batches("test"))[0]["image"]) == len(next(iter(data.validation()))[0]["image"]) == 10
    monkeypatch.setattr(data_module, "BATCH_BYTES", 0)
    assert data.batch_size == 1


def test_inputs_keep_their_types_but_raw_bytes(arrays):
    class Grading(Task):
        """A class of a mask and of another class."""

        inputs, targets = {"mask": Mask, "colour": Label}, {"label": Label}

    masks = np.random.default_rng(0).integers(0, 3, (24, 6, 6)).astype("uint8")
    written = arrays(x_train=masks, y_train=np.arange(24) % 3)
    settings = {"mask": {"field": "image", "classes": 3}, "colour": {"field": "label"}, "batch": 4}
    data = data_of(written, Grading(), **settings)
    for inputs, targets in data.training(0, 1).as_numpy_iterator():
        assert inputs["mask"].shape == (4, 6, 6) and inputs["mask"].dtype == np.float32
        assert inputs["colour"].shape == (4,) and inputs["colour"].dtype == np.int64
        assert targets["label"].shape == (4, 3) and targets["label"].dtype == np.float32
    mixed = data_of(written, Grading(), **settings, augment=["mixup"])
    with pytest.raises(UserError, match="mixup mixes real numbers, and colour is int64; leave it out"):
        mixed.training(0, 1)


def test_data_can_be_sent_to_another_process(arrays):
    for data in (digits(), weighing(arrays)):
        data.arrays("train", 2)
        again = pickle.loads(pickle.dumps(data))
        assert isinstance(again, Data) and again.index == data.index and again.section == data.section
        assert_same(flattened(again.training(0, 1)), flattened(data.training(0, 1)))


def test_a_validation_batch_is_prepared_and_not_augmented():
    data = digits()
    inputs, targets = data.arrays("validation", 10**6)
    (prepared, expected), *others = data.validation().as_numpy_iterator()
    assert not others and prepared["image"].dtype == expected["label"].dtype == np.float32
    np.testing.assert_array_equal(prepared["image"], inputs["image"])
    np.testing.assert_array_equal(expected["label"], np.eye(10)[targets["label"]])


def test_an_example_may_have_several_inputs_and_targets(arrays):
    data = weighing(arrays)
    inputs, targets = data.arrays("train", 10**6)
    assert {name: (values.shape[1:], str(values.dtype)) for name, values in (inputs | targets).items()} == {
        "front": ((6, 8, 1), "uint8"), "side": ((4, 4, 3), "uint8"), "length": ((), "float32"),
        "label": ((), "int64"), "weight": ((), "float32")}
    np.testing.assert_allclose(targets["weight"], inputs["length"] ** 2)
    np.testing.assert_allclose(targets["label"], inputs["length"] % 3)
    batch = flattened(data.training(0, 1))[0]
    assert all(values.dtype == np.float32 and len(values) == 5 for values in batch.values())
    assert set(batch) == {"front", "side", "length", "label", "weight"} and batch["label"].shape == (5, 3)


def test_masks_move_with_their_images(arrays):
    images = np.random.default_rng(0).integers(0, 256, (40, 9, 9)).astype("uint8")
    written = arrays(x_train=images, train_mask=(images > 128).astype("uint8"))
    settings = {"image": {"size": 9, "channels": 1}, "mask": {"classes": 2}, "batch": 8}
    data = data_of(written, Segmentation(), **settings, augment=["flip", {"crop": 3}])
    for batch in flattened(data.training(0, 2)):
        assert batch["mask"].shape == (8, 9, 9, 2)
        inside = batch["mask"].sum(-1) == 1
        assert 0.5 < inside.mean() < 1, "what comes from outside is of no class"
        np.testing.assert_array_equal(batch["mask"][..., 1][inside], batch["image"][..., 0][inside] > 128.5)


def test_examples_of_different_sizes_are_padded(arrays, monkeypatch):
    original = Arrays.examples

    def ragged(self, part, positions=None):
        return original(self, part, positions).map(lambda example: {
            **example, "columns": example["columns"][:1 + tf.cast(example["price"], tf.int32) % 5]})

    written = arrays(train_columns=np.ones((12, 5)), train_price=np.arange(12.0))
    data = data_of(written, Pricing(), batch=4)
    data.index.learnt["columns"].statistics["shape"] = [0.0]
    data.index.inputs["columns"] = data.index.inputs["columns"].model_copy(update={"shape": (None,)})
    monkeypatch.setattr(Arrays, "examples", ragged)
    inputs, targets = data.arrays("train", 10**6)
    np.testing.assert_array_equal((inputs["columns"] != 0).sum(axis=1), 1 + targets["price"] % 5)
    batch = flattened(data.training(0, 1))[0]
    np.testing.assert_array_equal((batch["columns"] != 0).sum(axis=1), 1 + batch["price"] % 5)


def test_the_first_examples_are_data_too():
    data = digits(augment=())
    few = data.first(10)
    assert {part: split.examples for part, split in few.index.splits.items()} == {
        "train": 10, "validation": 10, "test": 10}
    assert few.section.batch == 10 and few.steps == 1 and data.section.batch == 64
    np.testing.assert_array_equal(few.arrays("test", 10**6)[0]["image"], data.arrays("test", 10)[0]["image"])
    shown = flattened(few.training(0, 1))[0]["image"].astype("uint8")
    first = data.arrays("train", 10)[0]["image"]
    assert sorted(image.tobytes() for image in shown) == sorted(image.tobytes() for image in first)
