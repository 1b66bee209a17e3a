"""How detectors learn: overlaps and losses against closed forms, and which points answer for which box."""
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.box_coding import Points
from pipelines.errors import UserError
from pipelines.training.detection.assigning import Truth, task_aligned
from pipelines.training.detection.overlap import overlap
from pipelines.training.detection.point_loss import Detection
from pipelines.training.losses import Loss

ONE, OTHER = [0.0, 0.0, 4.0, 2.0], [2.0, 1.0, 6.0, 5.0]
#: They share 2 x 1 of 8 + 16; around both are 6 x 5; the centres are 2 and 2 apart.
IOU = 2 / 22
GIOU = IOU - (30 - 22) / 30
DIOU = IOU - (2**2 + 2**2) / (6**2 + 5**2)
RATIO = 4 / math.pi**2 * (math.atan(4 / 4) - math.atan(2 / 4))**2
CIOU = DIOU - RATIO * RATIO / (1 - IOU + RATIO)


@pytest.mark.parametrize(("kind", "expected"), [("iou", IOU), ("giou", GIOU), ("diou", DIOU), ("ciou", CIOU)])
def test_overlaps_are_their_closed_forms(kind, expected):
    assert float(overlap(tf.constant(ONE), tf.constant(OTHER), kind)) == pytest.approx(expected, abs=1e-6)
    assert float(overlap(tf.constant(ONE), tf.constant(ONE), kind)) == pytest.approx(1, abs=1e-6)
    apart = overlap(tf.constant(ONE), tf.constant([9.0, 9.0, 9.0, 9.0]), kind)
    assert float(apart) == 0 if kind == "iou" else float(apart) < 0


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_boxes_that_are_apart_are_pulled_together(kind):
    box = tf.Variable([10.0, 10.0, 12.0, 13.0])
    optimizer = keras.optimizers.Adam(0.2)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = 1 - overlap(box, tf.constant(ONE), kind)
        optimizer.apply([tape.gradient(loss, box)], [box])

    for _ in range(500):
        step()
    assert float(overlap(box, tf.constant(ONE))) > 0.8


def truth(boxes, classes, present=None, crowds=None):
    return Truth(tf.constant([boxes], tf.float32), tf.constant([classes]),
                 tf.constant([[True] * len(boxes) if present is None else present]),
                 tf.constant([crowds or [False] * len(boxes)]))


CODING = Points((32, 32), (8,), 1)


def assigned(of, answers=None, scores=None, **settings):
    """Return what is assigned where every point answers its own cell, and any class with one half."""
    points = CODING.points()
    own = np.concatenate([points - 4, points + 4], axis=1) if answers is None else answers
    scores = np.full((CODING.count, 2), 0.5) if scores is None else scores
    result = task_aligned(of, tf.constant(points), tf.constant(scores[None], tf.float32),
                          tf.constant(own[None], tf.float32), **settings)
    return result.scores.numpy()[0], result.boxes.numpy()[0], result.chosen.numpy()[0]


def test_a_box_is_answered_by_points_inside():
    scores, boxes, chosen = assigned(truth([[0, 0, 16, 16]], [1]))
    assert chosen.reshape(4, 4).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    assert boxes[chosen == 1].tolist() == [[0, 0, 16, 16]] * 4
    np.testing.assert_allclose(scores[chosen == 1], [[0, 0.25]] * 4, atol=1e-5)  # their overlap
    assert not scores[chosen == 0].any()


def test_the_best_points_are_taken_and_scored_by_the_best_overlap():
    points = CODING.points()
    answers = np.concatenate([points - 4, points + 4], axis=1)
    answers[5] = [0, 0, 16, 16]
    scores, _, chosen = assigned(truth([[0, 0, 16, 16]], [0]), answers, most=1)
    assert chosen.nonzero()[0].tolist() == [5] and scores[5] == pytest.approx([1, 0])


def test_a_point_in_two_boxes_answers_for_the_one_it_overlaps_more():
    points = CODING.points()
    answers = np.concatenate([points - 4, points + 4], axis=1)
    _, boxes, chosen = assigned(truth([[0, 0, 8, 8], [0, 0, 32, 32]], [0, 1]), answers, most=16)
    assert chosen.all() and boxes[0].tolist() == [0, 0, 8, 8] and boxes[1].tolist() == [0, 0, 32, 32]


def test_a_box_without_a_point_has_the_nearest():
    _, boxes, chosen = assigned(truth([[16.5, 16.5, 19, 19]], [1]))
    assert chosen.nonzero()[0].tolist() == [10] and boxes[10].tolist() == [16.5, 16.5, 19, 19]


def test_what_is_not_there_is_answered_by_nobody():
    scores, _, chosen = assigned(truth([[0, 0, 16, 16]], [1], [False]))
    assert not chosen.any() and not scores.any()


def test_the_loss_is_its_closed_form_without_boxes():
    """Nothing is to be found: the cross-entropy of all scores with 0, over a sum of 1."""
    logits = np.random.default_rng(0).normal(size=(2, CODING.count, 3)).astype("float32")
    boxes = np.ones((2, CODING.count, 4), "float32")
    nothing = Truth(tf.zeros((2, 1, 4)), tf.zeros((2, 1), tf.int32), tf.zeros((2, 1), tf.bool),
                    tf.zeros((2, 1), tf.bool))
    value = Detection(class_weight=0.5).of_images(CODING, nothing, {"boxes": tf.constant(boxes),
                                                                    "logits": tf.constant(logits)})
    expected = 0.5 * np.log1p(np.exp(logits)).sum(axis=(1, 2)) * 2
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_the_loss_is_its_closed_form_for_one_box():
    """One point answers for a box: its own box is off by one stride, and its score is asked to be their overlap."""
    coding = Points((8, 8), (8,), 16)
    shares = np.full((4, 16), 1e-9)
    shares[:, 1] = 1  # one stride to every side, the box is [-4, -4, 12, 12]
    logits = np.array([[[0.3, -0.2]]], "float32")
    of = truth([[0, 0, 8, 8]], [1])
    value = Detection(boxes="iou", class_weight=2, box_weight=3, distance_weight=5).of_images(
        coding, of, {"boxes": tf.constant(np.log(shares).reshape(1, 1, -1), tf.float32),
                     "logits": tf.constant(logits)})
    iou = 64 / 256
    entropy = np.log1p(np.exp(0.3)) + np.log1p(np.exp(-0.2)) - iou * -0.2
    distance = -(0.5 * np.log(1e-9) + 0.5 * np.log(1))  # half a stride is between 0 and 1
    assert float(value[0]) == pytest.approx(2 * entropy + iou * (3 * (1 - iou) + 5 * distance), rel=1e-3)


def test_losses_of_images_average_to_that_of_their_batch():
    generator = np.random.default_rng(0)
    coding = Points((32, 32), (8, 16), 8)
    boxes = generator.normal(size=(4, coding.count, 32)).astype("float32")
    logits = generator.normal(size=(4, coding.count, 3)).astype("float32")
    corners = generator.uniform(0, 20, (4, 2, 2))
    of = Truth(tf.constant(np.concatenate([corners, corners + generator.uniform(4, 12, (4, 2, 2))], -1), tf.float32),
               tf.constant(generator.integers(0, 3, (4, 2))), tf.constant([[True, True], [True, False]] * 2),
               tf.zeros((4, 2), tf.bool))

    def some(rows):
        chosen = Truth(*(tf.gather(part, rows) for part in (of.boxes, of.classes, of.present, of.crowds)))
        return np.asarray(Detection().of_images(coding, chosen, {"boxes": tf.gather(boxes, rows),
                                                                  "logits": tf.gather(logits, rows)}))

    value = some([0, 1, 2, 3])
    assert value.shape == (4,) and np.isfinite(value).all()
    np.testing.assert_allclose(some([2, 0, 3, 1]), value[[2, 0, 3, 1]], rtol=1e-5)
    assigned = task_aligned(of, tf.constant(coding.points()), tf.sigmoid(logits), coding.decode(boxes))
    totals = assigned.scores.numpy().sum(axis=(1, 2))
    shares = [some([row])[0] * max(1, totals[row]) for row in range(4)]
    np.testing.assert_allclose(value.mean(), sum(shares) / max(1, totals.sum()), rtol=1e-4)


def test_what_is_found_in_a_crowd_is_neither_right_nor_wrong():
    logits = tf.Variable(np.zeros((1, CODING.count, 2), "float32"))
    boxes = tf.ones((1, CODING.count, 4))
    of = truth([[0, 0, 32, 16]], [1], [False], [True])
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(Detection().of_images(CODING, of, {"boxes": boxes, "logits": logits}))
    wrong = np.abs(tape.gradient(value, logits).numpy()[0]).max(axis=1).reshape(4, 4)
    assert (wrong[:, :2] == 0).all() and (wrong[:, 2:] > 0).all()


def test_a_box_that_nothing_overlaps_has_a_point_all_the_same():
    points = CODING.points()
    away = np.concatenate([points + 40, points + 41], axis=1)
    scores, _, chosen = assigned(truth([[16.5, 16.5, 19, 19]], [1]), away)
    assert chosen.nonzero()[0].tolist() == [10] and not scores.any()


def test_two_replicas_learn_as_one_device_would(tmp_path):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, CODING.count, 2)).astype("float32")
    boxes = np.ones((4, CODING.count, 4), "float32")
    corners = generator.uniform(0, 12, (4, 1, 2))
    of = Truth(tf.constant(np.concatenate([corners, corners + 16], -1), tf.float32), tf.zeros((4, 1), tf.int32),
               tf.ones((4, 1), tf.bool), tf.zeros((4, 1), tf.bool))
    outputs = {"boxes": tf.constant(boxes), "logits": tf.constant(logits)}
    alone = Detection().of_images(CODING, of, outputs)
    with strategy.scope():
        inside = strategy.run(lambda: Detection().of_images(CODING, of, outputs))
    np.testing.assert_allclose(strategy.experimental_local_results(inside)[0], alone, rtol=1e-6)


def test_it_is_for_boxes_alone():
    with pytest.raises(UserError, match="detection is for object_detection alone"):
        Loss.read("detection").build([], "logits")
