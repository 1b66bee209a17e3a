"""Distances between surfaces against their definitions, every pair of pixels looked at."""
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy.spatial import distance

from pipelines.features.mask import VOID
from pipelines.tasks import surfaces
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from pipelines.tasks.surfaces import Surfaces, between
from pipelines.tasks.task import Task
from tests.pipelines.tasks.test_semantic_segmentation import NAMES, index_of, logits_of


def surface(area):
    """Return the pixels (row, column) of an area that have a neighbour outside it."""
    framed = np.pad(area, 1)
    inner = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    return np.argwhere(area & ~inner)


def by_definition(one, other, spacing, tolerance):
    pairs = distance.cdist(surface(one) * spacing, surface(other) * spacing)
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    precision, recall = (np.mean(near <= tolerance) for near in (there, back))
    return (max(np.percentile(there, 95), np.percentile(back, 95)),
            np.concatenate([there, back]).mean(), 2 * precision * recall / max(precision + recall, 1e-9))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.9)])
def test_distances_are_those_of_every_pair_of_pixels(spacing):
    generator = np.random.default_rng(0)
    rows, columns = np.indices((40, 52))
    for _ in range(10):
        areas = []
        for _ in range(2):
            y, x, radius = generator.integers(8, 32), generator.integers(8, 44), generator.integers(3, 14)
            areas.append(((rows - y) ** 2 + (columns - x) ** 2 < radius**2) ^ (generator.random((40, 52)) < 0.01))
        found = between(*areas, spacing, 2.0)
        assert found == pytest.approx(by_definition(*areas, spacing, 2.0), abs=1e-9)


def test_a_square_that_is_shifted_is_as_far_as_it_was_shifted():
    one, other = np.zeros((2, 30, 30), bool)
    one[5:15, 5:15] = True
    other[5:15, 9:19] = True
    found = between(one, other, (1.0, 1.0), 4.0)
    assert found.hausdorff_95 == 4.0 and found.boundary_f1 == 1.0 and 1 < found.surface_distance < 4
    assert between(one, other, (0.5, 0.5), 1.9).boundary_f1 < 1
    assert between(one, one, (1.0, 1.0), 0.1) == (0.0, 0.0, 1.0)
    assert between(one, 0 * one > 0, (1.0, 1.0), 0.1) is None


def test_an_image_is_averaged_over_its_classes_and_one_that_lacks_a_class_is_as_wrong_as_can_be():
    truth = np.zeros((3, 20, 30), "uint8")
    truth[:2, 4:10, 4:10] = 1
    answers = truth.copy()
    answers[0] = np.roll(truth[0], 2, axis=1)
    answers[1] = 0  # misses it
    measure = Surfaces(3)
    measure.add(truth[:2], answers[:2])
    measure.add(truth[2:], answers[2:])
    diagonal = np.hypot(20, 30)
    shifted = between(truth[0] == 1, answers[0] == 1, (1, 1), surfaces.TOLERANCE * diagonal)
    assert measure.images.tolist() == [3, 2, 0]
    by_class = measure.by_class()
    np.testing.assert_allclose(by_class[1], np.add(shifted, (diagonal, diagonal, 0)) / 2)
    assert np.isnan(by_class[2]).all()
    assert list(measure.metrics().values()) == pytest.approx(by_class[:2].mean(axis=0))
    assert {name: np.size(value) for name, value in vars(measure).items()} == {
        "spacing": 2, "tolerance": 1, "sums": 9, "images": 3}


def test_pixels_of_no_class_are_of_none_in_the_answer_either():
    truth = np.zeros((1, 12, 12), "uint8")
    truth[0, 3:9, 3:9] = 1
    truth[0, :, 9:] = VOID
    answers = np.where(truth == VOID, 1, truth)
    measure = Surfaces(2)
    measure.add(truth, answers)
    np.testing.assert_array_equal(measure.by_class(), [[0, 0, 1], [0, 0, 1]])


def test_they_are_measured_where_the_task_asks_for_them():
    plain = SemanticSegmentation()
    assert [metric.name for metric in plain.metrics] == ["mean_iou", "dice", "pixel_accuracy"]
    assert TypeAdapter(Task).validate_python(plain.written()) == plain
    task = TypeAdapter(Task).validate_python({"semantic_segmentation": {"distances": True, "spacing": 0.5}})
    assert [metric.name for metric in task.metrics[3:]] == ["hausdorff_95", "surface_distance", "boundary_f1"]
    assert [metric.drop(2.0, 3.0) for metric in task.metrics[3:]] == [1.0, 1.0, -1.0]
    truth = np.zeros((2, 16, 16), "uint8")
    truth[:, 4:10, 4:10] = 1
    answers = np.roll(truth, 2, axis=2)
    results = []
    for one in (plain, task):
        measure = one.measure(index_of())
        measure.add({"mask": truth}, {"logits": logits_of(answers)})
        results.append(measure.result())
    assert list(results[1].metrics) == [metric.name for metric in task.metrics]
    assert {name: results[1].metrics[name] for name in results[0].metrics} == results[0].metrics
    assert results[1].tables[0].columns[4:] == ["Hausdorff 95", "surface distance", "boundary F1"]
    assert [row[0] for row in results[1].tables[0].rows] == NAMES
    assert results[1].limits[-1].startswith("Distances count each of the 4 x 5 pixels that the model sees as 0.5 x 0.5")
    unit = SemanticSegmentation(distances=True).measure(index_of()).limits
    assert unit == ["Distances are in pixels, of the 4 x 5 pixels that the model sees."]
    assert not any("Distances" in limit for limit in results[0].limits)
    assert results[1].tables[0].rows[1][4] == 1.0 and results[1].tables[0].rows[2][4:] == ["–"] * 3


@pytest.mark.parametrize(("settings", "message"), [
    ({"tolerance": 2}, "tolerance is about distances: add distances: true"),
    ({"spacing": [1, 1]}, "spacing is about distances"),
    ({"distances": True, "spacing": [0, 1]}, "give a pixel's height and width, both above 0"),
    ({"distances": True, "spacing": "mm"}, "give a pixel's height and width"),
    ({"distances": True, "tolerance": 0}, "greater than 0")])
def test_settings_that_cannot_be_say_why(settings, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Task).validate_python({"semantic_segmentation": settings})
