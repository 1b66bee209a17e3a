"""Detectors learn from large images in the memory of one: the same answers, and no tensor of all pairs of a batch."""
import math

import numpy as np
import pytest
import tensorflow as tf

from models import retinanet, yolov3
from models.anchors import AnchorCells, Anchors
from models.box_coding import Points
from models.regions import Regions
from pipelines.tasks.object_detection.task import share_found
from pipelines.training.detection import image_by_image
from pipelines.training.detection.anchor_loss import AnchorDetection
from pipelines.training.detection.assigning import Truth, in_crowds, task_aligned
from pipelines.training.detection.cell_loss import CellDetection, by_shape
from pipelines.training.detection.matching import by_overlap
from pipelines.training.detection.point_loss import Detection
from pipelines.training.detection.region_loss import ANCHOR_BOXES, ANCHOR_OBJECTNESS, RegionDetection

SHAPES = (((12.0, 12.0), (9.0, 17.0)), ((24.0, 24.0),))
ANCHORS, CLASSES = Anchors((64, 64), (8, 16), SHAPES), 3


def truth(images=3, most=5):
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 40, (images, most, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(6, 24, (images, most, 2))], axis=-1)
    kind = generator.integers(0, 4, (images, most))
    return Truth(tf.constant(boxes, tf.float32), tf.constant(generator.integers(0, CLASSES, (images, most))),
                 tf.constant(kind < 3), tf.constant(kind == 3))


def outputs_of(coding, images=3):
    generator = np.random.default_rng(1)
    outputs = {name: tf.constant(generator.normal(size=(images, *one.shape)), tf.float32)
               for name, one in coding.outputs(CLASSES).items()}
    if isinstance(coding, Regions):
        corners = generator.uniform(0, 40, (images, coding.count, 2))
        outputs |= {"proposals": tf.constant(np.concatenate([corners, corners + 20], axis=-1), tf.float32),
                    ANCHOR_BOXES: tf.constant(generator.normal(size=(images, coding.anchors.count, 4)), tf.float32),
                    ANCHOR_OBJECTNESS: tf.constant(generator.normal(size=(images, coding.anchors.count, 1)),
                                                   tf.float32)}
    return outputs


@pytest.mark.parametrize(("loss", "coding", "compiled"), [
    (AnchorDetection(hard_negatives=2), ANCHORS, True),
    (CellDetection(), AnchorCells((64, 64), (8, 16), SHAPES), False),
    (Detection(), Points((64, 64), (8, 16), 8), False),
    (RegionDetection(), Regions((64, 64), ANCHORS, count=20), False)])
def test_losses_and_gradients_are_those_of_the_whole_batch(loss, coding, compiled, monkeypatch):
    of, outputs = truth(), outputs_of(coding)

    def values():
        @tf.function(jit_compile=compiled)
        def learn(outputs):
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                value = loss.of_images(coding, of, outputs)
            return value, tape.gradient(value, outputs), share_found(coding, of, outputs, 0.25)
        return [np.asarray(value) for value in tf.nest.flatten(learn(outputs))]

    at_once = values()
    monkeypatch.setattr(image_by_image, "AT_ONCE", 0)
    for one, other in zip(values(), at_once, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


MOST = 100


def largest(function, *shapes):
    """Return how many numbers the largest tensor holds that a function makes of tensors of these shapes."""
    graph = tf.function(function).get_concrete_function(*shapes).graph
    graphs = [graph, *(inner.graph for inner in graph._functions.values())]
    return max(math.prod(value.shape) for graph in graphs for operation in graph.get_operations()
               for value in operation.outputs if value.shape.is_fully_defined())


def test_no_tensor_holds_all_pairs_of_a_batch():
    images = 8
    of = [tf.TensorSpec((images, MOST, 4)), tf.TensorSpec((images, MOST), tf.int32),
          *[tf.TensorSpec((images, MOST), tf.bool)] * 2]
    anchors = retinanet.coding((640, 640, 3), CLASSES, levels=(3, 7), anchor=4.0)
    cells, points = yolov3.coding((640, 640, 3), CLASSES, anchors=None), Points((640, 640), (8, 16, 32), 1)

    def places(coding, *sizes):
        return [tf.TensorSpec((images, coding.count, size)) for size in sizes]

    for coding, function, given in (
            (anchors, lambda *parts: vars(by_overlap(Truth(*parts), tf.constant(anchors.anchors()), 0.5, 0.4, True)),
             []),
            (anchors, lambda places, *parts: vars(by_overlap(Truth(*parts), places, 0.5, 0.4, True)),
             places(anchors, 4)),
            (anchors, lambda boxes, logits, *parts: share_found(
                anchors, Truth(*parts), {"boxes": boxes, "logits": logits}, 0.25), places(anchors, 4, CLASSES)),
            (cells, lambda decoded, *parts: vars(by_shape(cells, Truth(*parts), decoded, 0.5)), places(cells, 4)),
            (points, lambda scores, boxes, *parts: vars(task_aligned(
                Truth(*parts), tf.constant(points.points()), scores, boxes)), places(points, CLASSES, 4)),
            (points, lambda *parts: in_crowds(Truth(*parts), tf.constant(points.points())), [])):
        assert largest(function, *given, *of) == MOST * coding.count
