"""Arrays that stay in their file: what they give, and when they cannot."""
import numpy as np
import psutil
import pytest

from pipelines.ingest import Source
from pipelines.ingest.sources import stored_array

VALUES = np.random.default_rng(0).normal(size=(30, 4, 5))
OTHER = np.arange(30, dtype="int16")


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "a.npz", first=OTHER, values=VALUES, columns=np.asfortranarray(VALUES), empty=VALUES[:0])
    np.savez_compressed(tmp_path / "packed.npz", values=VALUES)
    np.save(tmp_path / "a.npy", VALUES)
    return tmp_path


@pytest.mark.parametrize(("file", "name", "expected"), [
    ("a.npz", "values", VALUES), ("a.npz", "first", OTHER), ("a.npy", "x", VALUES)])
def test_rows_are_those_of_the_whole_array(path, file, name, expected):
    stored = stored_array.find(str(path / file), name)
    assert (stored.shape, stored.dtype, len(stored)) == (expected.shape, expected.dtype, 30)
    for rows in (slice(None), slice(3, 7), [5, 2, 5], np.array([29])):
        np.testing.assert_array_equal(stored[rows], expected[rows])
    np.testing.assert_array_equal(stored.with_channel()[3:5], expected[3:5, ..., None])


@pytest.mark.parametrize(("file", "name"), [("packed.npz", "values"), ("a.npz", "columns"), ("a.npz", "empty")])
def test_what_can_be_read_whole_only_is_not_one(path, file, name):
    assert stored_array.find(str(path / file), name) is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_chosen_examples_are_those_at_their_positions(tmp_path, save):
    images = np.random.default_rng(0).integers(0, 256, (600, 4, 4)).astype("uint8")
    save(tmp_path / "a.npz", x_train=images, y_train=np.arange(600) % 7, train_age=np.arange(600.0))
    source = Source.read({"arrays": str(tmp_path / "a.npz")})
    chosen = [0, 255, 256, 257, 599]
    examples = list(source.examples("train", chosen).as_numpy_iterator())
    assert [one["id"].decode() for one in examples] == [f"train#{position}" for position in chosen]
    assert [float(one["age"]) for one in examples] == chosen
    assert [int(one["label"]) for one in examples] == [position % 7 for position in chosen]
    assert len(list(source.examples("train"))) == 600 and not list(source.examples("train", []))


def test_a_pass_over_a_large_array_does_not_hold_it(tmp_path):
    """100 MB on the disk, of which a pass takes a small part."""
    masks = np.random.default_rng(0).integers(0, 3, (800, 256, 256), dtype="uint8")
    np.savez(tmp_path / "a.npz", x_train=masks, train_mask=masks)
    del masks
    source = Source.read({"arrays": str(tmp_path / "a.npz")})
    next(iter(source.examples("train")))
    process = psutil.Process()
    before = process.memory_info().rss
    most = max(process.memory_info().rss for number, _ in enumerate(source.examples("train")) if number % 100 == 0)
    assert most - before < 50e6
