"""Detectors with anchors and with proposed regions, and how their boxes are read."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.conversion import convert
from export.keras_models import bridge, graph
from export.keras_models import file as keras_file
from export.predictors import LiteRTPredictor
from export.tflite import file as tflite_file
from models.anchors import AnchorCells, Anchors
from models.pyramid import feature_pyramid
from models.regions import Regions, proposals_class, region_align_class

SHAPE = (64, 96, 3)
NARROW = {"resnet18": {"width": 8}}
SETTINGS = {
    "ssdlite": {"backbone": NARROW, "first": 3, "further": 1, "width": 0.1},
    "ssd_mobilenet_v2": {"backbone": NARROW, "further": 2, "width": 0.1},
    "retinanet": {"backbone": NARROW, "levels": [3, 6], "filters": 16, "depth": 1, "batch_norm": True},
    "yolov3": {"width": 0.1, "depth": 0.1},
    "blazeface": {"width": 0.4, "points": 2},
    "faster_rcnn": {"backbone": NARROW, "levels": [2, 4], "filters": 8, "candidates": 30, "proposals": 12,
                    "units": 16, "batch_norm": True}}
#: Operators of TFLite itself that no delegate need know more of.
BUILT_IN = {"NON_MAX_SUPPRESSION_V4", "TOPK_V2", "GATHER"}


def built(name):
    """Return a small model, how its boxes are read, and a batch of images."""
    keras.utils.set_random_seed(0)
    settings = models.builder(name).settings().model_validate(SETTINGS[name]).model_dump()
    dimensions = {"input_shape": SHAPE, "classes": 3}
    images = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype("float32")
    return models.build(name, **dimensions, **settings), models.builder(name).coded(dimensions, settings), images


@pytest.fixture(scope="module", params=SETTINGS)
def detector(request):
    return built(request.param)


def test_it_gives_what_its_coding_reads(detector):
    model, coding, images = detector
    shipped = models.cut(model, list(coding.outputs(3)))
    assert isinstance(coding, models.builder(model.name if model.name != "ssd" else "ssdlite").reads)
    given = shipped(images)
    assert {name: tuple(value.shape[1:]) for name, value in given.items()} == {
        name: one.shape for name, one in coding.outputs(3).items()}
    boxes, scores = np.asarray(coding.boxes(given)), np.asarray(coding.scores(given))
    assert boxes.shape[-1] == 4 and np.isfinite(boxes).all() and scores.shape == (2, coding.count, 3)
    assert (scores >= 0).all() and (scores <= 1).all() and scores.max() > 0


def test_its_file_is_of_built_in_operators_and_gives_the_same(detector, tmp_path):
    model, coding, images = detector
    shipped = models.cut(model, list(coding.outputs(3)))
    keras_file.save(shipped, tmp_path / "model.keras")
    loaded = keras_file.load(tmp_path / "model.keras")
    convert.float_graph(loaded, lambda plain: [graph.function(plain, graph.signature_of(loaded))], tmp_path / "graph")
    content = convert.convert(tmp_path / "graph", "float32")
    (tmp_path / "a.tflite").write_bytes(content)
    assert not [name for name in tflite_file.operators(content) if name.startswith(("FLEX", "CUSTOM", "WHILE"))]
    if coding.places_are_fixed:
        assert not BUILT_IN & set(tflite_file.operators(content)), "an NPU takes all of it"
    given = LiteRTPredictor(tmp_path / "a.tflite").predict({"image": images})
    for name, expected in shipped(images).items():
        np.testing.assert_allclose(given[name], expected, atol=2e-4, err_msg=name)


def test_it_crosses_the_bridge(detector):
    model, coding, images = detector
    shipped = models.cut(model, list(coding.outputs(3)))
    crossed = bridge.to_tf_keras(shipped)(images, training=False)
    for name, expected in shipped(images).items():
        np.testing.assert_allclose(crossed[name], expected, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("kind", [Anchors, AnchorCells])
def test_a_box_is_read_as_it_is_written(kind):
    coding = kind((64, 96), (16, 32), (((10.0, 20.0), (30.0, 15.0)), ((40.0, 40.0),)))
    assert coding.count == 2 * 4 * 6 + 2 * 3 and coding.anchors().shape == (coding.count, 4)
    generator = np.random.default_rng(0)
    middles = coding.middles() + generator.uniform(-7, 7, (coding.count, 2))
    half = generator.uniform(2, 30, (coding.count, 2))
    boxes = np.concatenate([middles - half, middles + half], axis=1).astype("float32")
    written = np.array(coding.encode(boxes))
    if kind is AnchorCells:
        assert (written[:, :2] > 0).all() and (written[:, :2] < 1).all(), "the centre is in the anchor's own cell"
        written[:, :2] = np.log(written[:, :2] / (1 - written[:, :2]))
    np.testing.assert_allclose(coding.decode(written), boxes, atol=1e-3)


def test_anchors_are_where_their_cells_are():
    coding = Anchors((64, 96), (32,), (((10.0, 20.0), (4.0, 4.0)),))
    assert coding.anchors()[0].tolist() == [11, 6, 21, 26] and coding.anchors()[1].tolist() == [14, 14, 18, 18]
    assert coding.anchors()[-1].tolist() == [46, 78, 50, 82]


def test_variances_scale_what_is_learnt():
    plain, scaled = (Anchors((32, 32), (16,), (((16.0, 8.0),),), variances) for variances in ((1.0, 1.0), (0.1, 0.2)))
    boxes = np.array([[2, 2, 12, 15]], "float32")
    np.testing.assert_allclose(np.asarray(scaled.encode(boxes)) * [0.1, 0.1, 0.2, 0.2], plain.encode(boxes), rtol=1e-5)
    # equation 2 of Faster R-CNN, for the anchor around (8, 8)
    np.testing.assert_allclose(np.asarray(plain.encode(boxes))[0], [-1 / 16, 0.5 / 8, np.log(10 / 16), np.log(13 / 8)],
                               rtol=1e-5)


def test_a_region_has_a_box_for_each_class_and_nothing_where_there_is_none():
    coding = Regions((32, 32), Anchors((32, 32), (16,), (((8.0, 8.0),),)), count=2)
    deltas = np.zeros((1, 2, 4, 4), "float32")
    deltas[0, 0, 2] = [1, 0, 0, 0]  # down by a tenth of the height, of the second class
    outputs = {"proposals": tf.constant([[[0, 0, 10, 20], [0, 0, 0, 0]]], tf.float32),
               "boxes": tf.constant(deltas.reshape(1, 2, 16)), "logits": tf.constant([[[0, 0, 5, 0]] * 2], tf.float32)}
    boxes = np.asarray(coding.boxes(outputs))
    assert boxes[0, 0].tolist() == [[0, 0, 10, 20], [1, 0, 11, 20], [0, 0, 10, 20]]
    scores = np.asarray(coding.scores(outputs))
    assert scores[0, 0].argmax() == 1 and scores[0, 0, 1] == pytest.approx(np.exp(5) / (3 + np.exp(5)))
    assert (scores[0, 1] == 0).all()


def suppressed(boxes, scores, iou):
    """Return the rows that are left, best first, one by one."""
    left, rows = list(np.argsort(-scores)), []
    while left:
        best, *left = left
        rows.append(best)
        sides = np.minimum(boxes[left, 2:], boxes[best, 2:]) - np.maximum(boxes[left, :2], boxes[best, :2])
        shared = np.maximum(sides, 0).prod(axis=1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        left = [row for row, part in zip(left, shared / (areas[left] + areas[best] - shared), strict=True)
                if part <= iou]
    return rows


def test_the_regions_proposed_are_the_best_of_each_level_that_are_apart():
    strides, shapes = (16, 32), (((16.0, 16.0),), ((40.0, 40.0),))
    layer = proposals_class()((64, 96), strides, shapes, candidates=9, count=20, iou=0.5)
    anchors = layer.anchors
    generator = np.random.default_rng(0)
    objectness = generator.normal(size=(3, anchors.count, 1)).astype("float32")
    deltas = generator.normal(0, 0.4, (3, anchors.count, 4)).astype("float32")
    given = np.asarray(layer([objectness, deltas]))
    for image in range(3):
        boxes = np.clip(np.asarray(anchors.decode(deltas[image])), 0, [64, 96, 64, 96])
        scores, rows, first = objectness[image, :, 0], [], 0
        for size in anchors.per_level:
            best = first + np.argsort(-scores[first:first + size])[:9]
            rows += [int(row) for row in best[suppressed(boxes[best], scores[best], 0.5)]]
            first += size
        rows = sorted(rows, key=lambda row: -scores[row])
        np.testing.assert_allclose(given[image, :len(rows)], boxes[rows], atol=1e-3)
        assert 0 < len(rows) < 20 and (given[image, len(rows):] == 0).all()
    np.testing.assert_allclose(np.asarray(layer([objectness[1:2], deltas[1:2]]))[0], given[1], atol=1e-4)


def test_regions_outside_the_image_take_the_place_of_none():
    """They are cut to lines of no area, which overlap nothing and so would all be left."""
    anchors = Anchors((64, 96), (16,), (((16.0, 16.0),),))
    layer = proposals_class()(anchors.size, anchors.strides, anchors.shapes, candidates=24, count=6, iou=0.7)
    objectness = np.linspace(9, -9, 24).reshape(1, 24, 1).astype("float32")
    deltas = np.zeros((1, 24, 4), "float32")
    deltas[0, :20, 1] = -20  # far to the left
    deltas[0, :10, 3] = 1.0
    images = np.repeat(objectness, 2, axis=0), np.concatenate([deltas, deltas - [0, 20, 0, 0]], dtype="float32")
    given = np.asarray(layer(list(images)))
    np.testing.assert_allclose(given[0, :4], anchors.anchors()[20:], atol=1e-4)
    assert (given[0, 4:] == 0).all() and (given[1] == 0).all()


def test_what_is_seen_in_a_region_is_what_is_there():
    """A map that holds its own positions, read between its places, holds the positions that are asked for."""
    layer = region_align_class()((4, 8), parts=7)
    maps = []
    for stride in (4, 8):
        y, x = np.meshgrid((np.arange(64 // stride) + 0.5) * stride, (np.arange(96 // stride) + 0.5) * stride,
                           indexing="ij")
        maps.append(np.stack([y, x, np.full_like(y, stride)], axis=-1)[None].astype("float32"))
    regions = np.array([[[8, 10, 50, 80], [20, 30, 27, 44]]], "float32")
    seen = np.asarray(layer([regions, *maps])).reshape(2, 7, 7, 3)
    for region, values in zip(regions[0], seen, strict=True):
        parts = (np.arange(7) + 0.5) / 7
        np.testing.assert_allclose(values[:, 0, 0], region[0] + parts * (region[2] - region[0]), atol=1e-3)
        np.testing.assert_allclose(values[0, :, 1], region[1] + parts * (region[3] - region[1]), atol=1e-3)
    assert (seen[..., 2] == 4).all()
    large = np.array([[[0, 0, 900, 900]]], "float32")
    assert np.asarray(layer([large, *maps]))[0, 0, 0, 2] == 8, "large regions are read from coarse maps"


def align(region, values, stride, parts=7):
    """Return what a map (height, width, channels) holds in a region, point by point: the mean of 2 x 2 of each part,
    each between the four places around it (He et al. 2017, section 3)."""
    height, width, channels = values.shape
    given = np.zeros((parts, parts, channels))
    for down, across in np.ndindex(2 * parts, 2 * parts):
        at = [np.clip((region[axis] + (region[axis + 2] - region[axis]) * (step + 0.5) / (2 * parts)) / stride - 0.5,
                      0, side - 1) for axis, step, side in ((0, down, height), (1, across, width))]
        for row, column in np.ndindex(2, 2):
            place = [int(at[0]) + row, int(at[1]) + column]
            share = (1 - abs(at[0] - place[0])) * (1 - abs(at[1] - place[1]))
            if share > 0:
                given[down // 2, across // 2] += share / 4 * values[place[0], place[1]]
    return given


def test_regions_are_aligned_as_the_paper_has_it():
    generator = np.random.default_rng(0)
    layer = region_align_class()((4, 8), parts=7)
    maps = [generator.normal(size=(2, 64 // stride, 96 // stride, 5)).astype("float32") for stride in (4, 8)]
    corners = generator.uniform(-8, 50, (2, 12, 2))
    regions = np.concatenate([corners, corners + generator.uniform(0, 60, (2, 12, 2))], axis=-1).astype("float32")
    regions[:, -1] = [0, 0, 900, 900]
    seen = np.asarray(layer([regions, *maps])).reshape(2, 12, 7, 7, 5)
    for image, number in np.ndindex(2, 12):
        stride, values = ((4, maps[0]), (8, maps[1]))[number == 11]
        np.testing.assert_allclose(seen[image, number], align(regions[image, number], values[image], stride),
                                   atol=1e-5)


def test_regions_are_read_in_four_gathers_of_no_more_than_four_dimensions():
    """Lines are read between rows first, then points between columns; phones take four dimensions."""
    given = [tf.TensorSpec((1, 12, 4)), tf.TensorSpec((1, 16, 24, 5)), tf.TensorSpec((1, 8, 12, 5))]
    layer = region_align_class()((4, 8), parts=7)
    operations = tf.function(lambda *parts: layer(parts)).get_concrete_function(*given).graph.get_operations()
    assert sum(one.type == "GatherV2" for one in operations) == 4 + 1, "and one for what is known of its map"
    assert max(len(value.shape) for one in operations for value in one.outputs if value.shape.rank is not None) == 4


def test_regions_are_learnt_from_what_the_maps_hold():
    layer, maps = region_align_class()((4,), parts=2), tf.Variable(np.zeros((1, 16, 16, 1), "float32"))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer([tf.constant([[[8.0, 8.0, 24.0, 24.0]]]), maps]))
    where = np.asarray(tf.convert_to_tensor(tape.gradient(value, maps)))[0, :, :, 0]
    assert where[2:6, 2:6].sum() == pytest.approx(4, abs=1e-4) and where.sum() == pytest.approx(4, abs=1e-4)


def test_p6_is_every_second_place_of_p5():
    x = keras.Input((25, 17, 3))
    maps = feature_pyramid({5: x}, 4, 6, "pool")
    p5, p6 = (np.asarray(value) for value in keras.Model(x, [maps[5], maps[6]])(np.random.default_rng(0).normal(
        size=(1, 25, 17, 3))))
    np.testing.assert_array_equal(p6, p5[:, ::2, ::2])
