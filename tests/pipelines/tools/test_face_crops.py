"""Faces that are cut out, or turned upright, by what a detector finds."""
import dataclasses

import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.ingest.sources.faces_in_scenes import POINTS, SIZE, scenes
from pipelines.ingest.sources.lfw_subset import SIDE, photos
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.face_recognition.alignment import ARCFACE, ARCFACE_PIXELS, aligned, places_of, similarity
from pipelines.tasks.object_detection import detections
from pipelines.tools import face_crops
from tests.pipelines.tools.test_gallery import picture

#: Where key points lie in the pictures that scenes are made of, as shares.
PLACES = {name: (y / SIDE, x / SIDE) for name, (y, x) in POINTS.items()}


def found(scores, box=(0.25, 0.5, 0.75, 1.0)):
    """Return what a detector gives for an image whose boxes have these scores."""
    count = len(scores)
    return {"detection_boxes": np.tile(np.array(box, "float32"), (1, 3, 1)),
            "detection_scores": np.array([[*scores, *[0.0] * (3 - count)]], "float32"),
            "detection_classes": np.zeros((1, 3), "int32"), "num_detections": np.array([count], "int32")}


def test_a_picture_with_no_face_is_refused_by_name(tmp_path):
    path = picture(tmp_path / "wall.png", (0, 0), size=20)
    for scores in ((), (0.2,)):
        with pytest.raises(UserError, match=r"wall\.png: has no face in it that the detector finds; take one nearer"):
            face_crops.cut_out([path], found(scores), 0.25)


def test_the_surest_face_is_cut_out(tmp_path):
    path = picture(tmp_path / "crowd.png", (0, 1), size=20)
    face, = face_crops.cut_out([path], found((0.9, 0.3)), 0.25)
    np.testing.assert_array_equal(face[..., 0], np.asarray(PIL.Image.open(path))[5:15, 10:20])


def test_a_similarity_is_found_again():
    """Of points that were turned, enlarged and shifted exactly; of others it is the best, by trying."""
    generator = np.random.default_rng(0)
    points = generator.uniform(0, 50, (5, 2))
    angle, scale = 0.4, 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = (points[:, ::-1] @ turn.T + [3, -8])[:, ::-1]
    np.testing.assert_allclose(similarity(points, places), np.column_stack([turn, [3, -8]]), atol=1e-9)
    noisy = places + generator.normal(0, 2, places.shape)

    def off(matrix):
        return ((np.column_stack([points[:, ::-1], np.ones(5)]) @ matrix.T - noisy[:, ::-1])**2).sum()

    found = similarity(points, noisy)
    for _ in range(200):
        a, b, x, y = generator.normal(0, [0.05, 0.05, 1, 1])
        assert off(found + np.array([[a, -b, x], [b, a, y]])) >= off(found)


def test_faces_in_scenes_become_the_pictures_that_they_were_made_of():
    """Turned upright by their true key points: the middle of the face is as the photo has it, but for light."""
    images, found = scenes("validation")
    faces = photos()[70:80, 7:19, 5:17].reshape(10, -1).astype(float)
    wanted = faces - faces.mean(axis=1, keepdims=True)
    alike = []
    for image, rows in zip(images[:60], found[:60], strict=True):
        for row in rows:
            points = dict(zip(POINTS, (row[6:].reshape(-1, 3)[:, :2] * SIZE).tolist(), strict=True))
            upright = aligned(image, points, PLACES, (SIDE, SIDE))[7:19, 5:17].mean(axis=-1).ravel()
            given = upright - upright.mean()
            likeness = wanted @ given / np.linalg.norm(wanted, axis=1) / np.linalg.norm(given)
            alike.append(likeness.max())
    assert len(alike) > 60 and np.median(alike) > 0.95 and min(alike) > 0.7


def test_large_faces_are_reduced_without_gaps():
    """A fine pattern becomes its mean, and outside of the image it is black."""
    image = np.zeros((400, 400, 3), "uint8")
    image[::2] = 200
    points = {"a": (100.0, 0.0), "b": (100.0, 400.0)}
    small = aligned(image, points, {"a": (0.25, 0.25), "b": (0.25, 0.75)}, (20, 20))
    assert small.shape == (20, 20, 3) and np.abs(small[4:12, 6:14].astype(int) - 100).max() <= 2
    assert not small[:, :5].any() and not small[:2].any() and not small[13:].any()


def test_pictures_aligned_by_arcfaces_code_stay_as_they_are():
    """That code counts from the middle of the first pixel: a point at a pixel's index is half a pixel further here."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (112, 112, 3)).astype("uint8")
    points = {name: (y + 0.5, x + 0.5) for name, (y, x) in ARCFACE_PIXELS.items()}
    upright = aligned(image, points, ARCFACE, (112, 112))
    assert np.abs(upright.astype(int) - image).max() <= 1


def test_places_are_those_of_a_setting():
    def task(aligned):
        return Recipe.model_validate({"name": "x", "model": {"builder": "mobilefacenet"}, "data": {
            "source": "distorted_faces"}, "task": {"face_recognition": {"aligned": aligned}}}).task

    assert task("arcface").places == ARCFACE and task(None).places == {} == places_of(None)
    assert task({"left_eye": [0.3, 0.6], "mouth": [0.7, 0.5]}).places == {"left_eye": (0.3, 0.6), "mouth": (0.7, 0.5)}
    with pytest.raises(ValueError, match="at least 2"):
        task({"left_eye": [0.3, 0.6]})


@dataclasses.dataclass(frozen=True)
class Finds(face_crops.Detector):
    """A detector that knows what is in the images."""

    found: object = None

    def find(self, files):
        return self.found


@pytest.mark.parametrize("places", [PLACES, {}, {"left_eye": (0.3, 0.6)}])
def test_a_face_is_upright_where_key_points_and_their_places_are_known(tmp_path, places):
    images, rows = scenes("validation")
    number = next(number for number, found in enumerate(rows) if len(found) == 1)
    row, file = rows[number][0], tmp_path / "scene.png"
    PIL.Image.fromarray(images[number]).save(file)
    points = np.tile(row[6:].reshape(1, 1, -1, 3)[..., :2], (1, 3, 1, 1))
    answer = {**found((0.9,), row[:4]), detections.KEY_POINTS: points}
    finder = Finds(file, tuple(POINTS), 0.25, answer)
    face, = face_crops.faces(finder, [file], places, (SIDE, SIDE))
    assert finder.turns(places) == (len(places) > 1)
    assert (face.shape[:2] == (SIDE, SIDE)) == (len(places) > 1)
    none = {**answer, "num_detections": np.array([0])}
    with pytest.raises(UserError, match=r"scene\.png: has no face in it"):
        face_crops.faces(dataclasses.replace(finder, found=none), [file], places, (SIDE, SIDE))
