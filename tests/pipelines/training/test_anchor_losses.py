"""The losses of detectors with anchors and with regions: closed forms, and who answers for what."""
import math

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from models.anchors import AnchorCells, Anchors
from models.faster_rcnn import ANCHOR_BOXES, ANCHOR_OBJECTNESS
from models.regions import Regions
from pipelines.errors import UserError
from pipelines.training.detection.anchor_loss import AnchorDetection
from pipelines.training.detection.assigning import Truth
from pipelines.training.detection.cell_loss import CellDetection, by_shape
from pipelines.training.detection.detector_loss import smooth_l1
from pipelines.training.detection.matching import Matched, by_overlap, highest
from pipelines.training.detection.region_loss import RegionDetection, drawn
from pipelines.training.losses import Loss

#: Squares of 16 pixels around (8, 8), (8, 24), (24, 8) and (24, 24).
GRID = Anchors((32, 32), (16,), (((16.0, 16.0),),))


def truth(*images, most=2, crowds=()):
    """Return what is true of images: each a list of (ymin, xmin, ymax, xmax, class); `crowds` are (image, row)."""
    boxes, classes = np.zeros((len(images), most, 4), "float32"), np.zeros((len(images), most), "int32")
    there, crowd = np.zeros((len(images), most), bool), np.zeros((len(images), most), bool)
    for image, rows in enumerate(images):
        for row, (*sides, number) in enumerate(rows):
            boxes[image, row], classes[image, row], there[image, row] = sides, number, True
    for image, row in crowds:
        there[image, row], crowd[image, row] = False, True
    return Truth(*map(tf.constant, (boxes, classes, there, crowd)))


def entropy(logits, wanted):
    return np.log1p(np.exp(logits)) - wanted * logits


def test_smooth_l1_is_a_square_and_then_a_line():
    given = smooth_l1(tf.constant([0.0, 0.1, -0.5, 2.0]), 0.5)
    np.testing.assert_allclose(given, [0, 0.01, 0.25, 1.75], rtol=1e-6)


def test_anchors_answer_for_what_they_overlap_and_the_best_in_any_case():
    of = truth([(0, 0, 16, 12, 1), (20, 20, 24, 24, 2)])
    matched = by_overlap(of, tf.constant(GRID.anchors()), 0.5, 0.4, best=True)
    assert matched.found.numpy().tolist() == [[1, 0, 0, 1]] and matched.nothing.numpy().tolist() == [[0, 1, 1, 0]]
    assert matched.classes.numpy()[0, [0, 3]].tolist() == [1, 2]
    alone = by_overlap(of, tf.constant(GRID.anchors()), 0.5, 0.4, best=False)
    assert alone.found.numpy().tolist() == [[1, 0, 0, 0]] and alone.nothing.numpy().tolist() == [[0, 1, 1, 1]]


def test_what_overlaps_a_little_does_not_count():
    of = truth([(0, 0, 16, 16, 1), (0, 16, 16, 23, 0)])  # the second overlaps its anchor by 7 / 16
    matched = by_overlap(of, tf.constant(GRID.anchors()), 0.5, 0.4, best=False)
    assert matched.found.numpy().tolist() == [[1, 0, 0, 0]] and matched.nothing.numpy().tolist() == [[0, 0, 1, 1]]


def test_an_image_without_boxes_has_nothing_to_find():
    matched = by_overlap(truth([]), tf.constant(GRID.anchors()), 0.5, 0.4, best=True)
    assert not matched.found.numpy().any() and matched.nothing.numpy().all()


def test_what_is_in_a_crowd_is_neither_right_nor_wrong():
    of = truth([(0, 0, 16, 32, 0)], crowds=[(0, 0)])
    matched = by_overlap(of, tf.constant(GRID.anchors()), 0.5, 0.4, best=True)
    assert not matched.found.numpy().any() and matched.nothing.numpy().tolist() == [[0, 0, 1, 1]]


def of_grid(seed=0, classes=3):
    generator = np.random.default_rng(seed)
    return {"boxes": tf.constant(generator.normal(0, 0.3, (1, 4, 4)), tf.float32),
            "logits": tf.constant(generator.normal(size=(1, 4, classes)), tf.float32)}


def test_the_focal_loss_is_its_closed_form():
    """Lin et al. 2017, equation 5, over how many anchors answer: the first, for the box that is its own."""
    outputs = of_grid()
    value = AnchorDetection(gamma=2, alpha=0.25, box_weight=3, beta=0.1).of_images(
        GRID, truth([(0, 0, 16, 16, 1)]), outputs)
    logits, wanted = outputs["logits"].numpy()[0], np.zeros((4, 3))
    wanted[0, 1] = 1
    scores = 1 / (1 + np.exp(-logits))
    missing = np.where(wanted, 1 - scores, scores)
    classes = (np.where(wanted, 0.25, 0.75) * missing**2 * -np.log(1 - missing)).sum()
    size = np.abs(outputs["boxes"].numpy()[0, 0])  # nothing is to be moved
    boxes = np.where(size < 0.1, size**2 / 0.2, size - 0.05).sum()
    assert float(value[0]) == pytest.approx(classes + 3 * boxes, rel=1e-5)


def test_hard_negatives_are_the_most_wrong_so_many_for_each_that_answers():
    outputs = of_grid(3)
    value = AnchorDetection(hard_negatives=2, box_weight=0).of_images(GRID, truth([(0, 0, 16, 16, 1)]), outputs)
    logits = outputs["logits"].numpy()[0]
    first = entropy(logits[0], np.array([0, 1, 0])).sum()
    others = sorted((entropy(row, 0).sum() for row in logits[1:]), reverse=True)
    assert float(value[0]) == pytest.approx(first + sum(others[:2]), rel=1e-5)


def test_of_negatives_that_are_alike_no_more_are_taken():
    outputs = {"boxes": tf.zeros((1, 4, 4)), "logits": tf.zeros((1, 4, 3))}
    value = AnchorDetection(hard_negatives=1, box_weight=0).of_images(GRID, truth([(0, 0, 16, 16, 1)]), outputs)
    assert float(value[0]) == pytest.approx(2 * 3 * math.log(2)), "the one that answers, and one of three that do not"


@pytest.mark.parametrize(("counts", "expected"), [([2], [[0, 1, 1, 0, 0]]), ([3], [[0, 1, 1, 0, 1]]),
                                                  ([0], [[0] * 5]), ([9], [[1, 1, 1, 0, 1]])])
def test_the_highest_are_so_many(counts, expected):
    values = tf.constant([[0.2, 0.7, 0.5, 0.0, 0.5]])
    assert highest(values, tf.constant(counts)).numpy().tolist() == expected


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou", "smooth_l1"])
def test_boxes_that_are_right_cost_nothing(kind):
    outputs = {"boxes": tf.zeros((1, 4, 4)), "logits": tf.constant(-20.0 + 40 * np.eye(4, 1)[None], tf.float32)}
    value = AnchorDetection(boxes=kind).of_images(GRID, truth([(0, 0, 16, 16, 0)]), outputs)
    assert float(value[0]) == pytest.approx(0, abs=1e-4)
    worse = AnchorDetection(boxes=kind).of_images(GRID, truth([(2, 0, 16, 14, 0)]), outputs)
    assert float(worse[0]) > 0.05


@pytest.mark.parametrize("loss", [AnchorDetection(), AnchorDetection(hard_negatives=3), CellDetection()])
def test_losses_of_images_average_to_that_of_their_batch(loss):
    generator, of = np.random.default_rng(0), truth([(0, 0, 16, 16, 1)], [(0, 0, 9, 9, 2), (16, 16, 30, 31, 0)], [])
    coding = AnchorCells((32, 32), (16,), (((16.0, 16.0),),)) if isinstance(loss, CellDetection) else GRID
    outputs = {name: tf.constant(generator.normal(size=(3, *one.shape)), tf.float32)
               for name, one in coding.outputs(3).items()}
    value = np.asarray(loss.of_images(coding, of, outputs))
    assert value.shape == (3,) and np.isfinite(value).all() and (value > 0).all()

    def alone(row):
        one = Truth(*(part[row:row + 1] for part in (of.boxes, of.classes, of.present, of.crowds)))
        return float(loss.of_images(coding, one, {name: part[row:row + 1] for name, part in outputs.items()})[0])

    answering = [1, 2, 1]  # an image without boxes counts as one
    shares = [alone(row) * count for row, count in enumerate(answering)]
    np.testing.assert_allclose(value.mean(), sum(shares) / 3, rtol=1e-5)


CELLS = AnchorCells((32, 32), (8, 16), (((6.0, 6.0), (4.0, 10.0)), ((16.0, 16.0),)))


def test_the_anchor_most_alike_answers_at_the_cell_of_the_centre():
    of = truth([(9, 8, 13, 18, 1), (16, 0, 32, 16, 0)])  # wide and low around (11, 13); a square around (24, 8)
    matched = by_shape(CELLS, of, CELLS.decode(tf.zeros((1, CELLS.count, 4))), ignored=0.5)
    answering = np.flatnonzero(matched.found.numpy()[0])
    assert answering.tolist() == [(1 * 4 + 1) * 2 + 1, 4 * 4 * 2 + 1 * 2 + 0]
    assert matched.classes.numpy()[0, answering].tolist() == [1, 0]


def test_what_overlaps_a_box_without_answering_for_it_is_not_asked():
    of = truth([(9, 8, 13, 18, 1)])
    decoded = np.tile(np.array([20, 20, 30, 30], "float32"), (1, CELLS.count, 1))
    decoded[0, 5] = [9, 8, 13, 17]  # 0.9 of it
    matched = by_shape(CELLS, of, tf.constant(decoded), ignored=0.5)
    assert matched.nothing.numpy()[0, 5] == 0 and matched.found.numpy()[0, 5] == 0
    assert matched.nothing.numpy().sum() == CELLS.count - 2


def test_the_loss_of_cells_is_its_closed_form():
    coding = AnchorCells((16, 16), (16,), (((8.0, 8.0),),))
    given = np.array([[[0.3, -0.2, 0.1, 0.4]]], "float32")
    outputs = {"boxes": tf.constant(given), "objectness": tf.constant([[[0.7]]]),
               "logits": tf.constant([[[0.2, -1.0]]])}
    value = CellDetection(box_weight=5, object_weight=2, class_weight=3).of_images(
        coding, truth([(4, 2, 12, 10, 1)]), outputs)  # its centre is at 8, 6; it is as large as the anchor
    place = 1 / (1 + np.exp(-given[0, 0, :2])) - [8 / 16, 6 / 16]
    squares = (2 - 64 / 256) * 0.5 * ((place**2).sum() + (given[0, 0, 2:]**2).sum())
    expected = 2 * entropy(0.7, 1) + 3 * (entropy(0.2, 0) + entropy(-1.0, 1)) + 5 * squares
    assert float(value[0]) == pytest.approx(expected, rel=1e-5)


REGIONS = Regions((32, 32), GRID, count=3)


def of_regions():
    generator = np.random.default_rng(1)
    return {"proposals": tf.constant([[[0, 0, 16, 16], [16, 16, 32, 32], [0, 0, 0, 0]]], tf.float32),
            "boxes": tf.constant(generator.normal(0, 0.5, (1, 3, 12)), tf.float32),
            "logits": tf.constant(generator.normal(size=(1, 3, 3)), tf.float32),
            ANCHOR_BOXES: tf.constant(generator.normal(0, 0.5, (1, 4, 4)), tf.float32),
            ANCHOR_OBJECTNESS: tf.constant(generator.normal(size=(1, 4, 1)), tf.float32)}


def test_the_loss_of_regions_is_its_closed_form():
    """The first region is class 1, the second is background, the third is none."""
    outputs = of_regions()
    value = RegionDetection(beta=0.1).of_regions(REGIONS, truth([(0, 0, 16, 16, 1)]), outputs)
    logits = outputs["logits"].numpy()[0]
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    size = np.abs(outputs["boxes"].numpy()[0, 0].reshape(3, 4)[2])
    boxes = np.where(size < 0.1, size**2 / 0.2, size - 0.05).sum()
    assert float(value[0]) == pytest.approx((-logs[0, 2] - logs[1, 0] + boxes) / 2, rel=1e-5)


def test_the_loss_of_proposals_is_its_closed_form():
    outputs = of_regions()
    value = RegionDetection(beta=0.1).of_anchors(REGIONS, truth([(0, 0, 16, 16, 1)]), outputs)
    logits = outputs[ANCHOR_OBJECTNESS].numpy()[0, :, 0]
    size = np.abs(outputs[ANCHOR_BOXES].numpy()[0, 0])
    boxes = np.where(size < 0.1, size**2 / 0.2, size - 0.05).sum()
    assert float(value[0]) == pytest.approx((entropy(logits, [1, 0, 0, 0]).sum() + boxes) / 4, rel=1e-5)


def test_so_many_are_drawn_and_the_same_by_the_same_network():
    generator = np.random.default_rng(0)
    found = (generator.uniform(size=(3, 200)) < [[0.5], [0.05], [0.0]]).astype("float32")
    matched = Matched(None, None, tf.constant(found), tf.constant(1 - found))
    given = tf.constant(generator.normal(size=(3, 200)), tf.float32)
    asked, others = (part.numpy() for part in drawn(matched, given, 40, 0.25))
    assert asked.sum(axis=1).tolist() == [10, min(10, found[1].sum()), 0]
    assert (asked + others).sum(axis=1).tolist() == [40, 40, 40]
    assert (asked <= found).all() and (others <= 1 - found).all()
    again, changed = drawn(matched, given, 40, 0.25), drawn(matched, given + 0.01, 40, 0.25)
    np.testing.assert_array_equal(asked, again[0])
    assert (asked != changed[0].numpy()).any()


def test_regions_teach_the_network_that_proposes_them_nothing():
    outputs = {name: tf.Variable(value) for name, value in of_regions().items()}
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(RegionDetection().of_images(REGIONS, truth([(0, 0, 16, 16, 1)]), outputs))
    gradients = dict(zip(outputs, tape.gradient(value, list(outputs.values())), strict=True))
    assert all(np.abs(gradients[name]).max() > 0 for name in ("boxes", "logits", ANCHOR_BOXES, ANCHOR_OBJECTNESS))


@pytest.mark.parametrize("name", ["anchor_detection", "cell_detection", "region_detection"])
def test_they_are_for_detectors_alone(name):
    with pytest.raises(UserError, match=f"{name} is for object_detection alone"):
        Loss.read(name).build([1, 2], "logits")


def test_overlaps_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="negative is at most positive"):
        AnchorDetection(positive=0.4, negative=0.5)
