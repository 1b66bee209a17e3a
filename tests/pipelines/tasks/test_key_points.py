"""Key points of boxes: read, moved, learnt, found, measured and drawn."""
import dataclasses
import json

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from export.delivery import paired
from export.signature import Tensor
from export.tflite import detection as detection_file
from models.anchors import Anchors
from pipelines.errors import UserError
from pipelines.features import Field, Learnt
from pipelines.features.boxes import NONE, Boxes, marked_points, mirrored, points_of, turned
from pipelines.figures import detection as figure
from pipelines.ingest.augmentation import geometric
from pipelines.ingest.index import Index
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.object_detection import detections, drawn, key_points, mediapipe
from pipelines.tasks.object_detection.task import truth_of
from pipelines.training.detection.anchor_loss import AnchorDetection
from tests.pipelines.ingest.test_augment import apply_to

NAMES = ["left_eye", "nose", "right_eye"]
KNOWN = Learnt(names=["face"], points=NAMES)
#: As a source gives it: sides, class, crowd, and y, x and whether it is marked of each key point.
GIVEN = [0.2, 0.2, 0.6, 0.7, 0, 0, 0.3, 0.6, 1, 0.4, 0.45, 1, 0.3, 0.3, 0]
GRID = Anchors((32, 32), (16,), (((16.0, 16.0),),), variances=(0.5, 0.2), key_points=2)


def decoded(*given, most=2):
    return Boxes(most=most).decode(tf.constant(np.array(given, "float32").reshape(-1, len(GIVEN))), KNOWN).numpy()


def test_key_points_are_read_with_the_place_of_their_mirrored_ones():
    feature = Boxes(most=2)
    learnt = feature.learn(Field(kind="boxes", names=["face"], points=NAMES), [])
    assert learnt == KNOWN and mirrored(NAMES) == [2, 1, 0] and mirrored(["left_ear", "tail"]) == [0, 1]
    rows = decoded(GIVEN)
    assert rows.shape == (2, 18) == feature.tensor("boxes", KNOWN).shape
    np.testing.assert_allclose(points_of(rows)[0], [[0.3, 0.6, 1, 2], [0.4, 0.45, 1, 1], [0.3, 0.3, 0, 0]], atol=1e-6)
    assert (rows[1] == NONE).all() and feature.fault(np.array([GIVEN]), KNOWN) is None
    assert "no number" in feature.fault(np.array([[*GIVEN[:6], np.nan, *GIVEN[7:]]]), KNOWN)
    np.testing.assert_allclose(marked_points(rows[:1]), [[0.3, 0.6], [0.4, 0.45]], atol=1e-6)


@pytest.mark.parametrize(("orientation", "first"), [(1, (0.3, 0.6)), (2, (0.3, 0.4)), (3, (0.7, 0.4)), (6, (0.6, 0.7))])
def test_key_points_turn_with_their_image(orientation, first):
    """Where EXIF turns a mark's pixel is where the mark is."""
    rows = turned(np.array([GIVEN]), orientation)
    assert rows[0, 6:9] == pytest.approx([*first, 1])
    image = PIL.Image.new("L", (100, 100))
    image.putpixel((60, 30), 255)
    operation = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 6: "ROTATE_270"}.get(orientation)
    shown = image.transpose(PIL.Image.Transpose[operation]) if operation else image
    place = np.argwhere(np.asarray(shown) > 0)[0] / 100
    assert np.abs(place - first).max() < 0.015


@pytest.mark.parametrize("written", ["flip", {"flip": "vertical"}, {"rotate": 40}, {"zoom": 0.3},
                                     {"affine": {"degrees": 20, "shear": 10, "shift": 0.1}}])
def test_a_key_point_moves_with_what_is_drawn_at_it(written):
    """In a mirror image the left one is the right one: the mark that is drawn at one is said to be the other's."""
    generator, (height, width), count = np.random.default_rng(0), (48, 64), 24
    rows = np.tile(decoded([0.3, 0.3, 0.7, 0.7, 0, 0, 0.4, 0.6, 1, 0.5, 0.5, 1, 0.4, 0.4, 1]), (count, 1, 1))
    places = generator.uniform(0.35, 0.65, (count, 3, 2))
    places[:, 1] = generator.uniform(0.36, 0.44, (count, 2))  # not in the middle, which a mirror leaves where it is
    shaped = points_of(rows).copy()
    shaped[:, 0, :, :2] = places
    rows = np.concatenate([rows[..., :6], shaped.reshape(count, 2, -1)], axis=-1).astype("float32")
    images = np.zeros((count, height, width, 3), "uint8")
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    for image, own in zip(images, places, strict=True):
        for channel, (down, across) in enumerate(own):
            image[..., channel] = 250 * np.exp(-((y - down * height)**2 + (x - across * width)**2) / 8)
    inputs, targets = apply_to([written], {"image": images}, {"boxes": rows})
    moved, swapped = points_of(targets["boxes"])[:, 0], 0
    for number, (image, own) in enumerate(zip(inputs["image"], moved, strict=True)):
        bright = image.reshape(-1, 3) / image.reshape(-1, 3).sum(axis=0)
        centres = np.stack([bright.T @ y.ravel() / height, bright.T @ x.ravel() / width], axis=1)
        is_mirrored = written in ("flip", {"flip": "vertical"}) and np.abs(own[1, :2] - places[number, 1]).max() > 1e-4
        swapped += is_mirrored
        np.testing.assert_allclose(own[:, :2], centres[[2, 1, 0]] if is_mirrored else centres, atol=0.02)
        assert own[:, 3].tolist() == [2, 1, 0]
    assert (8 < swapped < 16) == (written in ("flip", {"flip": "vertical"}))


def test_rows_without_a_box_stay_so():
    rows = decoded(GIVEN)[None]
    flat = tf.constant([[[-1.0, 0, 0], [0, 1, 0], [0, 0, 1]]])
    moved = geometric.moved_boxes(tf.constant(rows), flat, 32, 32).numpy()
    assert (moved[0, 1] == NONE).all()
    assert points_of(moved)[0, 0, 0] == pytest.approx([0.3, 0.7, 0, 2]), "the right eye, which is not marked"


def test_the_loss_of_key_points_is_its_closed_form():
    """Of the first anchor alone, which answers for a box that is its own; the second key point is not marked."""
    rows = np.full((1, 1, 14), NONE, "float32")
    rows[0, 0] = [0, 0, 0.5, 0.5, 0, 0, 0.25, 0.375, 1, 0, 0.1, 0.1, 0, 1]
    generator = np.random.default_rng(0)
    outputs = {name: tf.constant(generator.normal(size=(1, *one.shape)), tf.float32)
               for name, one in GRID.outputs(1).items()}
    of = truth_of(tf.constant(rows), (32, 32))
    value = [float(AnchorDetection(point_weight=weight).of_images(GRID, of, outputs)[0]) for weight in (0, 2)]
    given = outputs["key_points"].numpy()[0, 0, :2]
    apart = np.abs(given - np.array([8 - 8, 12 - 8]) / 16 / 0.5)
    expected = np.where(apart < 1, apart**2 / 2, apart - 0.5).sum()
    assert value[1] - value[0] == pytest.approx(2 * expected, rel=1e-5)


def test_anchors_read_key_points_as_they_write_them():
    points = np.random.default_rng(0).uniform(0, 32, (1, 4, 2, 2)).astype("float32")
    written = np.asarray(GRID.encode_points(points)).reshape(1, 4, 4)
    np.testing.assert_allclose(GRID.read_points({"key_points": written}), points, atol=1e-5)


@pytest.fixture(scope="module")
def outputs():
    """What a network gives of two images: boxes that overlap, each with key points of its own."""
    generator = np.random.default_rng(1)
    return {name: generator.normal(0, 0.3 if name == "boxes" else 1.5, (2, *one.shape)).astype("float32")
            for name, one in GRID.outputs(1).items()}


def test_boxes_that_are_found_have_their_own_key_points(outputs):
    found = {name: value.numpy() for name, value in detections.found(GRID, outputs, most=3, iou=0.3,
                                                                     score=0.4).items()}
    assert {name: value.shape[1:] for name, value in found.items()} == {
        tensor.name: tensor.shape for tensor in detections.tensors(3, 2)}
    every, points = np.asarray(detections.shares(GRID, outputs)), np.asarray(GRID.read_points(outputs)) / 32
    for image in range(2):
        count = int(found["num_detections"][image])
        assert count > 0
        for box, own in zip(found["detection_boxes"][image, :count], found[detections.KEY_POINTS][image, :count],
                            strict=True):
            place, = np.flatnonzero((every[image] == box).all(axis=1))
            np.testing.assert_allclose(own, points[image, place], atol=1e-6)
        assert not found[detections.KEY_POINTS][image, count:].any()


def test_boxes_that_are_cut_alike_keep_their_own_key_points():
    """Of a face that fills the picture several places say a box that is all of it, when cut."""
    outputs = {"boxes": np.tile(np.array([0, 0, 12.0, 12.0], "float32"), (1, 4, 1)),
               "logits": np.array([[[-3.0], [-4.0], [4.0], [-5.0]]], "float32"),
               "key_points": np.zeros((1, 4, 4), "float32")}
    found = detections.found(GRID, outputs, most=3, iou=0.3, score=0.4)
    assert found["detection_boxes"].numpy()[0, 0].tolist() == [0, 0, 1, 1]
    assert found[detections.KEY_POINTS].numpy()[0, 0].tolist() == [[0.75, 0.25]] * 2, "the middle of the third"


@pytest.mark.parametrize("change", [0.0, 0.2])
def test_key_points_of_a_server_are_compared_with_their_own_boxes(change):
    """Boxes that changed places are held against each other; where a key point is elsewhere, that shows."""
    def answered(boxes, scores, points):
        return {detections.BOXES: np.array([boxes]), detections.SCORES: np.array([scores]),
                detections.CLASSES: np.zeros((1, 2)), detections.COUNT: np.array([2]),
                detections.KEY_POINTS: np.array([points], float)}

    one, other = [0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]
    expected = answered([one, other], [0.9001, 0.9], [[[0.2, 0.2]], [[0.7, 0.7]]])
    given = answered([other, one], [0.9001, 0.9], [[[0.7 + change, 0.7]], [[0.2, 0.2]]])
    pairs = detections.paired(given, expected, iou=0.6, score=0.1)
    assert np.abs(pairs[detections.KEY_POINTS] - expected[detections.KEY_POINTS]).max() == pytest.approx(change)
    golden = paired.paired(given, expected)
    assert np.abs(golden[detections.KEY_POINTS] - expected[detections.KEY_POINTS]).max() == pytest.approx(change)


def test_the_error_of_key_points_is_a_share_of_their_box():
    rows = decoded(GIVEN, [0.0, 0.7, 0.2, 0.9, 0, 0, *[0.1, 0.8, 1] * 3])[None]
    found = {detections.BOXES: np.array([[[0.2, 0.2, 0.6, 0.7], [0.5, 0.5, 0.6, 0.6]]]),
             detections.SCORES: np.array([[0.9, 0.8]]), detections.CLASSES: np.zeros((1, 2)),
             detections.COUNT: np.array([2]), detections.KEY_POINTS: np.zeros((1, 2, 3, 2))}
    found[detections.KEY_POINTS][0, 0] = [[0.3, 0.63], [0.36, 0.45], [9, 9]]
    measure = key_points.KeyPoints((100, 200), 0.5)
    assert measure.result() == {}
    measure.add(rows, found)
    # 6 pixels across and 4 down of a box of 40 x 100 pixels; nothing is found of the second
    assert measure.result() == {"key_point_error": pytest.approx(5 / np.sqrt(4000)), "key_point_boxes": 0.5}


def test_drawings_and_results_have_key_points(tmp_path):
    PIL.Image.new("RGB", (100, 50)).save(tmp_path / "a.png")
    one = (np.array([[0.2, 0.2, 0.8, 0.6]]), np.array([0.9]), np.array([0]))
    points = np.array([[[[0.5, 0.3], [0.6, 0.4]], [[0, 0], [0, 0]]]])
    drawn.write([tmp_path / "a.png"], [one], ["face"], 0.5, tmp_path / "out", points, ["left_eye", "right_eye"])
    result, = json.loads((tmp_path / "out/results.json").read_text())
    assert result["keypoints"] == [30, 25, 2, 40, 30, 2] and result["keypoint_names"] == ["left_eye", "right_eye"]
    pixels = np.asarray(PIL.Image.open(tmp_path / "out/a.png"))
    assert (pixels[25, 30] == 255).all() and not pixels[25, 35].any()


def test_key_points_are_drawn_where_they_are():
    import matplotlib.figure

    axes = matplotlib.figure.Figure().add_subplot()
    axes.imshow(np.zeros((10, 20, 3)))
    figure.points(axes, np.array([[0.5, 0.25]]))
    assert axes.collections[0].get_offsets().tolist() == [[4.5, 4.5]]


@pytest.fixture(scope="module")
def behind():
    """What stands behind a network of four places for MediaPipe's FaceDetector."""
    six = dataclasses.replace(GRID, key_points=6)
    return six, detection_file.PostProcessing(
        detections.driver(six, most=10, iou=0.3, threshold=0.3),
        lambda outputs: (detections.shares(six, outputs), six.scores(outputs)),
        {name: one.shape for name, one in six.outputs(1).items()}, six.count, 1, detections.tensors(10, 6), score=0.1,
        form="faces", points=lambda outputs: six.read_points(outputs) / np.array(six.size, "float32"))


def test_faces_are_joined_as_mediapipe_joins_them(behind):
    """Against a direct computation: boxes that overlap the best by more than 0.3 are averaged, by their scores."""
    coding, post = behind
    generator = np.random.default_rng(3)
    outputs = {name: generator.normal(0, 0.2, (1, *one.shape)).astype("float32")
               for name, one in coding.outputs(1).items()}
    outputs["boxes"][0, 1, 1] = -1.8  # the second is moved upon the first
    outputs["logits"][0, :, 0] = [2.0, 1.0, -4.0, 0.0]
    given = {name: value.numpy() for name, value in detection_file.as_faces(post, outputs).items()}
    assert given["regressors"].shape == (1, 896, 16) and (given["score_logits"][0, 4:] == -100).all()
    boxes, points = np.asarray(detections.shares(coding, outputs))[0], np.asarray(coding.read_points(outputs))[0] / 32
    scores = 1 / (1 + np.exp(-outputs["logits"][0, :, 0]))
    assert detections.overlaps(boxes[0], boxes)[1] > 0.3 > detections.overlaps(boxes[0], boxes)[3]
    found = mediapipe.faces(given, most=5, score=0.1)
    weights = scores[:2] / scores[:2].sum()
    assert found["num_detections"].tolist() == [2]
    np.testing.assert_allclose(found["detection_scores"][0, :2], scores[[0, 3]], atol=1e-6)
    np.testing.assert_allclose(found["detection_boxes"][0, :2], [weights @ boxes[:2], boxes[3]], atol=1e-6)
    np.testing.assert_allclose(found[detections.KEY_POINTS][0, :2],
                               [np.tensordot(weights, points[:2], 1), points[3]], atol=1e-6)


@pytest.mark.parametrize(("change", "expected"), [
    ({"classes": 2}, r"the model has 2, 6 and 4"), ({"points": None}, "the model has 1, 0 and 4"),
    ({"places": 897}, "the model has 1, 6 and 897"), ({"form": "found"}, "gives no key points: give faces"),
    ({"driver": detections.driver(dataclasses.replace(GRID, key_points=6), 10, 0.3, 0.3, [
        "left_eye", "right_eye", "nose_tip", "mouth", "right_ear", "left_ear"])},
     "key points in MediaPipe's order, right_eye, left_eye")])
def test_a_model_that_is_no_face_detector_is_refused(behind, change, expected):
    with pytest.raises(ValueError, match=expected):
        detection_file.with_post_processing(b"", dataclasses.replace(behind[1], **change))


def test_as_many_key_points_are_learnt_as_the_data_have():
    index = Index(source="x", digest="", splits={}, learnt={"boxes": KNOWN}, counts={},
                  inputs={"image": Tensor(name="image", dtype="uint8", shape=(128, 128, 3), role="image")},
                  targets={"boxes": Tensor(name="boxes", dtype="float32", shape=(8, 18), role="boxes")})

    def dimensions(**settings):
        return Recipe.model_validate({"name": "x", "task": "object_detection", "data": {"source": "faces_in_scenes"},
                                      "model": {"builder": "blazeface", **settings}}).task.dimensions(index)

    with pytest.raises(UserError, match=r"model\.points: blazeface gives 6 key points of a box, and the data have 3: "
                                        r"left_eye, nose, right_eye; set it to 3"):
        dimensions()
    assert dimensions(points=3)["classes"] == dimensions(points=0)["classes"] == 1
