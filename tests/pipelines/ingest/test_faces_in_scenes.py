"""Scenes with small faces: what is in them, and what is in no two parts."""
import dataclasses

import numpy as np
import pytest

from pipelines.features.boxes import faults
from pipelines.ingest import Source
from pipelines.ingest.sources.faces_in_scenes import PARTS, POINTS, SIZE, scenes


@pytest.fixture(scope="module")
def validation():
    return scenes("validation")


def test_every_face_is_in_its_box_and_its_key_points_in_their_order(validation):
    images, found = validation
    assert images.shape == (200, SIZE, SIZE, 3) and {len(one) for one in found} == {0, 1, 2, 3}
    rows = np.concatenate(found)
    assert not any(wrong.any() for wrong in faults(rows, 1).values())
    places = rows[:, 6:].reshape(-1, len(POINTS), 3)
    named = dict(zip(POINTS, np.moveaxis(places[..., :2], 1, 0), strict=True))
    assert (named["right_eye"][:, 1] < named["left_eye"][:, 1]).all(), "as the person has them, not the image"
    assert (named["mouth"][:, 0] > named["nose_tip"][:, 0]).all()
    inside = (places[..., :2] >= rows[:, None, :2] - 0.01) & (places[..., :2] <= rows[:, None, 2:4] + 0.01)
    assert inside.all() and (places[..., 2] == 1).all()
    sides = (rows[:, 2:4] - rows[:, :2]) * SIZE
    assert sides.min() > 14 and sides.max() < 75


def test_they_are_drawn_by_their_seed_alone(validation):
    again, rows = scenes.__wrapped__("validation")
    assert (again == validation[0]).all() and all(map(np.array_equal, rows, validation[1]))


def test_no_face_and_no_photograph_is_in_two_parts():
    people = [set(range(*part.people)) for part in PARTS.values()]
    photographs = [set(part.photographs) for part in PARTS.values()]
    for kinds in (people, photographs):
        assert len(set.union(*kinds)) == sum(map(len, kinds))
    assert not {"skimage astronaut.png", "skimage camera.png"} & set.union(*photographs), "they show people"


def test_an_example_has_what_the_fields_say(monkeypatch, validation):
    monkeypatch.setitem(PARTS, "train", dataclasses.replace(PARTS["train"], count=5))
    source = Source.read("faces_in_scenes")
    assert source.parts() == ["train", "validation", "test"] and source.size("test") == 400
    assert source.fields()["boxes"].points == list(POINTS)
    one, other = source.examples("validation", [7, 3]).as_numpy_iterator()
    assert one["id"] == b"validation scene 7" and np.array_equal(other["boxes"], validation[1][3])
