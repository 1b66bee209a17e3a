"""Detection: what is found, COCO's numbers, and a run to its end."""

import keras
import matplotlib.figure
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from pydantic import ValidationError

import models
from export.signature import Tensor
from models.box_coding import Points
from pipelines.errors import UserError
from pipelines.features import Learnt
from pipelines.figures import detection as drawing
from pipelines.ingest.index import Index, Split
from pipelines.ingest.sources import digits_in_scenes
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.object_detection import detections, drawn
from pipelines.tasks.object_detection.measure import STATISTICS, Coco, f1
from pipelines.training.learners.supervised import learning, supervised
from pipelines.training.losses import Loss

NAMES = ["cat", "dog", "cow"]
SIZE = (64, 96)


def index_of(**counts) -> Index:
    return Index(source="x", digest="", splits={"test": Split(part="test", positions=None, examples=1)},
                 inputs={"image": Tensor(name="image", dtype="uint8", shape=(*SIZE, 3), role="image")},
                 targets={"boxes": Tensor(name="boxes", dtype="float32", shape=(8, 6), role="boxes")},
                 learnt={"boxes": Learnt(names=NAMES)}, counts={part: {"boxes": of} for part, of in counts.items()})


def rows(*boxes):
    """Return boxes filled up to eight."""
    return np.array([*boxes, *[[-1] * 6] * (8 - len(boxes))], "float32")


def answered(*boxes):
    """Return the answer about one image out of (box, score, class)."""
    count = len(boxes)
    of = {"detection_boxes": np.zeros((1, 8, 4)), "detection_scores": np.zeros((1, 8)),
          "detection_classes": np.zeros((1, 8), int), "num_detections": np.array([count])}
    for number, (box, score, label) in enumerate(boxes):
        of["detection_boxes"][0, number] = box
        of["detection_scores"][0, number] = score
        of["detection_classes"][0, number] = label
    return of


ONE, TWO, FAR = [0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9], [0.0, 0.8, 0.2, 1.0]


def measured(*images, score=0.25):
    measure = Coco("boxes", NAMES, SIZE, score)
    wrong = [measure.add({"boxes": truth[None]}, answer)[0] for truth, answer in images]
    return measure, wrong


def test_what_is_all_right_is_worth_one():
    truth = rows([*ONE, 0, 0], [*TWO, 1, 0])
    measure, wrong = measured((truth, answered((ONE, 0.9, 0), (TWO, 0.8, 1))), (rows(), answered()))
    result = measure.result()
    assert wrong == [0, 0] and result.metrics["map"] == result.metrics["map_50"] == 1
    assert result.metrics["best_f1"] == 1 and result.metrics["best_threshold"] == pytest.approx(0.8)
    assert "map_large" not in result.metrics, "no box is large"
    assert result.tables[0].columns[2:] == ["AP", "AP at 0.5", "AP small", "AP medium", "AP large"]
    assert result.tables[0].rows == [["cat", 1, 1.0, 1.0, 1.0, "–", "–"], ["dog", 1, 1.0, 1.0, 1.0, "–", "–"],
                                     ["cow", 0, "–", "–", "–", "–", "–"]]
    assert set(STATISTICS) - set(result.metrics) == {"map_medium", "map_large", "recall_medium", "recall_large"}


def test_the_numbers_are_cocos():
    """By hand: of two cats one is found, behind a box where there is none; the dog is found at 0.62 of its area."""
    narrow = [0.5, 0.5, 0.9, 0.74]
    truth = rows([*ONE, 0, 0], [*TWO, 0, 0], [*FAR, 1, 0])
    measure, wrong = measured((truth, answered((FAR, 0.9, 0), (ONE, 0.8, 0), ([0.0, 0.8, 0.2, 0.924], 0.7, 1))))
    result = measure.result()
    cat, dog = result.tables[0].rows[:2]
    assert cat[1:4] == [2, pytest.approx(51 / 101 / 2, abs=1e-6), pytest.approx(51 / 101 / 2, abs=1e-6)], (
        "precision of one half up to a recall of one half")
    assert dog[1:4] == [1, pytest.approx(0.3, abs=1e-6), 1.0], "it overlaps by 0.62: found at 0.50, 0.55 and 0.60"
    assert result.metrics["map"] == pytest.approx((cat[2] + dog[2]) / 2, abs=1e-6)
    assert wrong == [pytest.approx(1 - 2 * 2 / 6)]
    assert f1(truth[:2], np.array([narrow]), np.array([0])) == pytest.approx(2 / 3)


def test_crowds_are_neither_missed_nor_found():
    truth = rows([*ONE, 0, 0], [*TWO, 0, 1])
    measure, wrong = measured((truth, answered((ONE, 0.9, 0), (TWO, 0.8, 0))))
    result = measure.result()
    assert result.metrics["map"] == 1 and result.tables[0].rows[0][1] == 1
    assert wrong == [0], "nor are they made up of one image alone"


def test_of_one_image_what_is_in_a_crowd_does_not_count():
    """Half of an answer must be in a crowd of its class: several may be in one, and none takes the place of a box."""
    crowd = [0.4, 0.4, 1.0, 1.0]
    less, more = [0.2, 0.5, 0.59, 0.9], [0.2, 0.5, 0.61, 0.9]
    truth = rows([*ONE, 0, 0], [*crowd, 0, 1])
    inside = ([0.5, 0.5, 0.6, 0.6], 0.9, 0), (TWO, 0.8, 0)
    _, wrong = measured((truth, answered((ONE, 0.9, 0), *inside)), (truth, answered(*inside)),
                        (truth, answered((ONE, 0.9, 0), ([0.5, 0.5, 0.6, 0.6], 0.9, 1))),
                        (truth, answered((ONE, 0.9, 0), (less, 0.9, 0))),
                        (truth, answered((ONE, 0.9, 0), (more, 0.9, 0))))
    assert wrong == [0, 1, pytest.approx(1 / 3), pytest.approx(1 / 3), 0]


@pytest.mark.parametrize("images", [[(rows(), answered())], [(rows([*ONE, 0, 0]), answered())],
                                    [(rows(), answered((ONE, 0.9, 2)))]])
def test_there_may_be_nothing(images, tmp_path):
    measure, _ = measured(*images)
    result = measure.result(tmp_path)
    assert result.metrics["map"] == 0 and np.isfinite(list(result.metrics.values())).all()
    assert {figure.file for figure in result.figures} == {path.name for path in tmp_path.iterdir()}


def test_what_is_taken_for_what_has_the_background_last():
    truth = rows([*ONE, 0, 0], [*TWO, 1, 0])
    measure, _ = measured((truth, answered((ONE, 0.9, 1), (FAR, 0.8, 2))),
                          (rows([*ONE, 2, 0]), answered((ONE, 0.9, 2))))
    matrix = measure._confusion(np.concatenate(measure.truth), np.concatenate(measure.answers), 0.5)
    assert matrix.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 1, 0]]
    assert measure._mistakes(matrix) == [["cat", "dog", 1], ["dog", "background", 1], ["background", "cow", 1]]


def distances(coding, boxes):
    """Return what a network gives that answers a box at every point."""
    given = coding.encode(np.broadcast_to(np.asarray(boxes, "float32"), (1, coding.count, 4)))
    return np.asarray(given)


def test_of_boxes_that_overlap_the_best_of_each_class_is_found():
    coding = Points(SIZE, (16,), 1)
    boxes = [8.0, 8.0, 40.0, 56.0]
    logits = np.full((1, coding.count, 3), -9, "float32")
    logits[0, 3, 0], logits[0, 4, 0], logits[0, 5, 2] = 3, 2, 1
    outputs = {"boxes": distances(coding, boxes), "logits": logits}
    found = {name: np.asarray(value) for name, value in detections.found(coding, outputs, most=5, iou=0.6,
                                                                       score=0.1).items()}
    (sides, scores, classes), = detections.of_images(found)
    assert classes.tolist() == [0, 2]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp([-3, -1])), rtol=1e-5)
    np.testing.assert_allclose(sides, [np.array(boxes) / [64, 96, 64, 96]] * 2, atol=1e-6)
    several = {name: np.asarray(value) for name, value in detections.found(coding, outputs, most=1, iou=0.6,
                                                                         score=0.1).items()}
    assert several["num_detections"].tolist() == [1] and several["detection_boxes"].shape == (1, 1, 4)


def task():
    recipe = Recipe.model_validate({"name": "x", "task": "object_detection", "model": {
        "builder": "yolov8", "width": 0.125, "depth": 0.17, "levels": [3, 4], "bins": 8},
        "data": {"source": "digits_in_scenes"}})
    return recipe.task


def test_the_outputs_are_the_models():
    index = index_of()
    model = models.build("yolov8", **task().dimensions(index), width=0.125, depth=0.17, levels=[3, 4], bins=8)
    wanted = {tensor.name: tensor.shape for tensor in task().outputs(index)}
    assert wanted == {name: value.shape[1:] for name, value in models.named_outputs(model).items()}


def test_what_is_found_is_said():
    said = task().in_words(answered((ONE, 0.93, 1), (TWO, 0.1, 0)), index_of())
    assert said == ["dog 93% at [0.100 0.100 0.500 0.500]"]
    assert task().in_words(answered(), index_of()) == ["nothing"]
    assert task().decision(answered((ONE, 0.93, 1), (TWO, 0.1, 0))).tolist() == [1]


def test_another_loss_is_refused():
    with pytest.raises(UserError, match=r"train\.loss: cross_entropy is not for the boxes of yolov8; leave it out, or "
                                        "give detection"):
        task().objective(Loss.read("cross_entropy"), index_of())


def test_a_split_without_boxes_is_refused():
    assert task().dimensions(index_of(train=[1, 0, 2], test=[0, 0, 1]))["classes"] == 3
    with pytest.raises(UserError, match="no image of the test split has a box"):
        task().dimensions(index_of(train=[1, 0, 2], test=[0, 0, 0]))


@pytest.mark.parametrize(("change", "expected"), [
    ({"task": "image_classification", "model": {"builder": "resnet8"},
      "export": {"targets": [{"litert": {"post_processing": True}}]}}, "post_processing is for detectors"),
    ({"model": {"builder": "file", "path": "m.tflite"}}, "how a model made elsewhere writes its boxes is not known")])
def test_what_does_not_go_together_is_refused_before_anything_runs(change, expected):
    with pytest.raises(ValidationError, match=expected):
        Recipe.model_validate({"name": "x", "task": "object_detection", "model": {"builder": "yolov8"},
                               "data": {"source": "digits_in_scenes"}, **change})


def test_drawings_do_not_replace_what_they_are_of(tmp_path):
    PIL.Image.new("L", (40, 20)).save(tmp_path / "a.png")
    PIL.Image.fromarray(np.full((20, 40), 30_000, "uint16")).save(tmp_path / "b.png")
    found = [next(detections.of_images(answered((ONE, 0.9, 1)))) for _ in range(2)]
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    with pytest.raises(UserError, match=r"a\.png is one of the images; give another folder"):
        drawn.write(files, found, NAMES, 0.5, tmp_path)
    drawn.write(files, found, NAMES, 0.5, tmp_path / "out")
    inside = np.asarray(PIL.Image.open(tmp_path / "out/b.png"))[18, 35]
    assert (inside == 117).all(), "16 bits are read as the model is given them"


def test_half_precision_is_watched_too():
    coding = task().coding((*SIZE, 3))
    outputs = {"boxes": tf.zeros((1, coding.count, 32), tf.bfloat16), "logits": tf.zeros((1, coding.count, 3))}
    model = models.build("yolov8", input_shape=(*SIZE, 3), classes=3, width=0.125, depth=0.17, levels=[3, 4], bins=8)
    learner = learning(model, keras, supervised(keras))
    learner.prepare(task().objective(Loss.read("detection"), index_of()), task().watch(index_of())).compile("adam")
    x, y = {"image": tf.zeros((1, *SIZE, 3))}, {"boxes": tf.constant(rows([*ONE, 0, 0])[None])}
    assert np.isfinite(float(learner.compute_loss(x, y, outputs)))
    assert set(learner.compute_metrics(x, y, outputs)) == {"loss", "found"}


def test_another_builder_is_refused():
    with pytest.raises(ValidationError, match="resnet8 is a builder for image_classification"):
        Recipe.model_validate({"name": "x", "task": "object_detection", "model": {"builder": "resnet8"},
                               "data": {"source": "digits_in_scenes"}})


def test_a_model_that_answers_the_truth_finds_all():
    coding = task().coding((*SIZE, 3))
    truth = rows([*ONE, 0, 0], [*FAR, 1, 1])
    watched = task().watch(index_of())["found"]
    boxes = np.array(ONE) * [64, 96, 64, 96]
    logits = np.full((1, coding.count, 3), -9, "float32")
    targets = {"boxes": tf.constant(truth[None])}
    given = np.asarray(coding.encode(np.broadcast_to(boxes.astype("float32"), (1, coding.count, 4))))
    shares = np.log(np.clip(1 - np.abs(given[..., None] - np.arange(8)), 1e-9, 1))
    outputs = {"boxes": tf.constant(shares.reshape(1, coding.count, 32), tf.float32), "logits": tf.constant(logits)}
    assert float(watched(targets, outputs)[0]) == 0
    logits[..., 0] = 3
    assert float(watched(targets, {**outputs, "logits": tf.constant(logits)})[0]) == 1


def test_boxes_are_drawn_beside_the_answer(tmp_path):
    def image(axes):
        axes.imshow(np.zeros((*SIZE, 3)))

    drawing.answers([("best", image, (np.array([ONE]), ["cat"]), (np.zeros((0, 4)), []))], tmp_path / "a.png")
    assert PIL.Image.open(tmp_path / "a.png").width > 500
    axes = matplotlib.figure.Figure().add_subplot()
    image(axes)
    drawing.boxes(axes, np.array([ONE, TWO]), ["cat 0.9", "cat 0.8"])
    assert len({patch.get_edgecolor() for patch in axes.patches}) == 1, "one colour for a class"


def test_scenes_are_the_same_every_time_and_share_nothing():
    parts = digits_in_scenes.PARTS.values()
    photographs = [name for part in parts for name in part.photographs]
    digits = [number for part in parts for number in part.digits]
    assert len(set(photographs)) == len(photographs) and sorted(digits) == list(range(10))
    first, again = (next(digits_in_scenes.scenes(digits_in_scenes.PARTS["test"])) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    image, boxes, labels = first
    assert image.shape == (128, 128, 3) and len(boxes) == len(labels)
    assert (boxes[:, :2] < boxes[:, 2:]).all() and boxes.min() >= 0 and boxes.max() <= 128
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert ((sides >= digits_in_scenes.SMALLEST) & (sides <= digits_in_scenes.LARGEST)).all()
