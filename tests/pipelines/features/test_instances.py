"""Instances: their numbers out of files, what a model learns of them, and what cannot be read."""
import io
import tracemalloc

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from pipelines.features import Field, Learnt
from pipelines.features.image import Image
from pipelines.features.instances import DISTANCE, INSIDE, Instances, count, distances

LEARNT = Learnt(statistics={"size": [6, 8]})


def png(numbers):
    file = io.BytesIO()
    PIL.Image.fromarray(numbers).save(file, "PNG")
    return file.getvalue()


def two_squares():
    """Return a square of 3 x 3 pixels, number 300, that touches one of 5 x 3, number 2."""
    numbers = np.zeros((6, 8), "uint16")
    numbers[1:4, 1:4], numbers[1:6, 4:7] = 300, 2
    return numbers


def test_files_of_16_bits_keep_their_numbers():
    numbers = two_squares()
    assert Instances().fault(png(numbers), LEARNT) is None
    np.testing.assert_array_equal(Instances().decode(tf.constant(png(numbers)), LEARNT), numbers)
    kind, content = Instances().encode(numbers.astype("int32"))
    assert kind == "png"
    np.testing.assert_array_equal(Instances().decode(tf.constant(content), LEARNT), numbers)
    assert count(numbers) == 2


def test_they_follow_the_size_of_their_image():
    beside = Instances().beside({"image": Image(size=(3, 4))})
    assert beside.size == (3, 4) and Instances(size=6).beside({"image": Image(size=(3, 4))}).size == (6, 6)
    learnt = beside.learn(Field(kind="array", shape=(6, 8)), ())
    small = beside.decode(tf.constant(two_squares()), learnt).numpy()
    assert small.shape == (3, 4) == beside.tensor("instances", learnt).shape and set(np.unique(small)) <= {0, 2, 300}


def test_distances_are_shares_of_the_middle_and_have_a_valley_where_things_touch():
    result = distances(two_squares().astype(int))
    assert result[2, 2] == 1.0 and result[1, 1] == 0.5 and result[0].max() == 0
    assert result[3, 5] == 1.0 and result[2, 4] == 0.5
    middle = result[2, 1:7]
    np.testing.assert_allclose(middle, [0.5, 1, 0.5, 0.5, 1, 0.5])


def test_numbers_may_be_as_large_as_their_bits_let_them():
    """As of tools that number things by a counter of 32 bits: nothing is looked for between them."""
    numbers = two_squares().astype("int32")
    large = np.where(numbers == 300, 5_000_003, numbers)
    tracemalloc.start()
    result = distances(large)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(result, distances(numbers))
    assert most < 2**20
    _, file = Instances().encode(large)
    expected = np.where(numbers == 300, 2, numbers > 0)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(file))), expected)


def test_what_a_model_learns_are_the_inside_and_the_distance():
    batch = np.stack([two_squares(), np.zeros((6, 8))]).astype("int32")
    prepared = Instances().prepare(tf.constant(batch), LEARNT).numpy()
    assert prepared.shape == (2, 6, 8, 2) and prepared.dtype == "float32"
    np.testing.assert_array_equal(prepared[..., INSIDE], batch > 0)
    np.testing.assert_array_equal(prepared[0, ..., DISTANCE], distances(batch[0]))


@pytest.mark.parametrize(("value", "reason"), [
    (b"no image", "has instances whose file is truncated, damaged, or not a PNG or TIFF"),
    (png(np.zeros((4, 4, 3), "uint8")), "has instances that are not grey values"),
    (np.array([[0, -1]]), "has a number of an instance below 0")])
def test_what_cannot_be_read_says_why(value, reason):
    assert Instances().fault(value, LEARNT).startswith(reason)
