"""Files' pictures beside the trained model's of the same noise, as verify asks for them."""
import numpy as np
import pytest
import skimage.metrics

from pipelines.tasks.image_generation import to_keras
from pipelines.tasks.image_generation.seen import Seen
from pipelines.tasks.image_generation.task import ImageGeneration
from tests.pipelines.tasks.image_generation.test_task import index_of

GENERATOR = np.random.default_rng(0)
PICTURES = GENERATOR.integers(0, 256, (7, 4, 4, 1)).astype("uint8")
OTHERS = np.clip(PICTURES + GENERATOR.normal(0, 5, PICTURES.shape), 0, 255).astype("uint8")


class Brightness:
    """A judge that says whether an image is bright."""

    suffix, what, classes = "_classifier", "a line", 2

    def look(self, images):
        mean = images.reshape(len(images), -1).mean(axis=1, keepdims=True) / 255
        return Seen(mean, np.concatenate([1 - mean, mean], axis=1))


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(ImageGeneration, "_judged", lambda self, index: Brightness())
    return ImageGeneration()


def test_pictures_of_a_file_are_held_against_the_trained_models(task, tmp_path):
    index = index_of()
    trained = task.measure(index)
    for rows in (slice(0, 4), slice(4, 7)):
        trained.add({}, {"generated": PICTURES[rows].astype("float32"), "image": OTHERS[rows]})
    figures, answers = tmp_path / "figures", tmp_path / "reference"
    figures.mkdir()
    answers.mkdir()
    assert not {"psnr_to_keras", "same_class"} & set(trained.result(figures).metrics)
    task.draw_answers(None, [], tmp_path / "worst.png")
    kept = np.load(answers / "generated.npy")
    np.testing.assert_array_equal(kept, PICTURES)
    assert {path.name for path in figures.iterdir()} == {"generated.png", "unsure.png"}

    measured = task.measure(index)
    beside = task.compared(index, ["generated"])
    for rows, fitting in ((slice(0, 4), slice(0, 4)), (slice(4, 7), slice(4, 6))):  # what was kept ends before the last
        measured.add({}, {"generated": OTHERS[rows].astype("float32"), "image": PICTURES[rows]})
        expected = {"generated": kept[fitting]}
        assert beside.expected(expected) is expected
    found = measured.result().metrics
    decibels = [skimage.metrics.peak_signal_noise_ratio(one, other, data_range=255)
                for one, other in zip(PICTURES[:6], OTHERS[:6], strict=True)]
    assert found["psnr_to_keras"] == pytest.approx(np.mean(decibels), abs=1e-5)
    same = [(one.mean() > 127.5) == (other.mean() > 127.5) for one, other in zip(PICTURES[:6], OTHERS[:6], strict=True)]
    assert found["same_class"] == pytest.approx(np.mean(same), abs=1e-5)


def test_pictures_that_the_network_itself_gives_are_not_kept_twice(tmp_path):
    figures, answers = tmp_path / "figures", tmp_path / "reference"
    for folder in (figures, answers):
        folder.mkdir()
    np.save(answers / "generated.npy", np.zeros(3))
    np.save(figures / to_keras.PICTURES, PICTURES)
    to_keras.keep_beside(figures, answers)
    assert np.load(answers / "generated.npy").shape == (3,) and not list(figures.iterdir())


def test_no_more_pictures_are_kept_than_there_is_room_for(task, tmp_path, monkeypatch):
    monkeypatch.setattr(to_keras, "MOST_BYTES", 5 * PICTURES[0].nbytes)
    measured = to_keras.ToKeras(Brightness)
    for rows in (slice(0, 4), slice(4, 6), slice(6, 7)):  # the second does not fit, and the third may not follow
        measured.add(PICTURES[rows], Brightness().look(PICTURES[rows]))
    measured.keep(tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / to_keras.PICTURES), PICTURES[:4])
