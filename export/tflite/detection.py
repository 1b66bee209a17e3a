"""What stands behind a detector's network in a file that gives boxes itself: their decoding, and, where the file leaves
out those that a better one overlaps, TFLite_Detection_PostProcess, the operator that MediaPipe's ObjectDetector knows.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from etils import epy
from pydantic import BaseModel

from export.conversion import converter
from export.signature import Tensor
from export.tflite.joined import joined

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

OPERATOR = "TFLite_Detection_PostProcess"
#: The outputs, under the names of TensorFlow's Object Detection API and in the operator's order: sides (1, most, 4)
#: ymin, xmin, ymax, xmax as shares, classes and scores (1, most), and how many there are (1,).
OUTPUTS = BOXES, CLASSES, SCORES, COUNT = "detection_boxes", "detection_classes", "detection_scores", "num_detections"
#: Boxes that overlap less are never the same.
HALF = 0.5
#: The key points of the boxes, (1, most, points, 2) y and x as shares, which who decodes outside of the file finds too.
KEY_POINTS = "detection_key_points"
#: A side of a box is at least so long: the operator takes its logarithm.
SHORTEST = 1e-6
#: Boxes with a lower score are never counted: the operator takes those whose score is the threshold too, and so, where
#: it is 0, all that are not of a class.
FAINTEST = 1e-9
#: The outputs of a file that decodes and does not suppress, as MediaPipe calls them: centre y, centre x, height and
#: width (1, places, 4) as shares of the image, and scores (1, places, classes).
DECODED = LOCATION, SCORE = "location", "score"
#: The outputs of a file for MediaPipe's FaceDetector, in its order: of each of its anchors centre x, centre y, width
#: and height of a box and x and y of six key points, all but the sides as shifts from the anchor's centre, in 128ths of
#: the image; and the score's logit. It knows no other anchors, and no other number of key points.
FACES = REGRESSORS, SCORE_LOGITS = "regressors", "score_logits"
FACE_POINTS, FACE_UNIT = 6, 128.0
#: The key points in its order, by the names that data of ours have for them.
FACE_POINT_NAMES = ("right_eye", "left_eye", "nose_tip", "mouth", "right_ear", "left_ear")
#: Rows and columns of its anchors, and how many there are in each cell.
FACE_CELLS = ((16, 2), (8, 6))
#: The score of an anchor that stands for nothing, and how near a score comes to 0 and to 1.
NOTHING, NEAREST = -100.0, 1e-7
#: What a file gives: boxes that no better one overlaps, all boxes, or all as MediaPipe's FaceDetector reads them.
Form = Literal["found", "decoded", "faces"]
#: What a network tells boxes from.
Kind = Literal["points", "anchors", "cells", "regions"]


class Level(BaseModel, frozen=True):
    """Points, or the centres of anchors, in rows and columns, so many pixels apart; the first is half of that from the
    image's corner.

    Args:
        shapes: height and width in pixels of the anchors of each cell, one after the other; none of points.
    """

    rows: int
    columns: int
    stride: int
    shapes: tuple[tuple[float, float], ...] = ()


class Decoding(BaseModel, frozen=True):
    """What a driver must know to make boxes of what a network gives.

    Args:
        size: height and width of the image in pixels.
        levels: of the points or anchors, one after the other; none where boxes are told from regions, or written in
            another way.
        bins: logits of each distance from a point; 1 where it is the distance itself.
        iou: two boxes of one class that overlap more are one thing.
        most: boxes of an image, at most.
        threshold: boxes with a lower score are not shown.
        kind: what boxes are told from: points, by distances to the four sides in strides or logits of their
            distribution over whole numbers (`models.box_coding.Points`); anchors, by shifts and logarithms of scales
            (`models.anchors.Anchors`), or by places in cells (`models.anchors.AnchorCells`); or regions that the
            network proposes (`models.regions.Regions`). None where the network writes boxes in another way.
        variances: what shifts and logarithms of scales from anchors and regions are multiplied by.
        longest: the sides of a box are at most so many times as long as those of its anchor or region.
        key_points: of a box.
        point_names: of the key points, in their order, where they are known.
    """

    size: tuple[int, int]
    levels: tuple[Level, ...]
    bins: int
    iou: float
    most: int
    threshold: float
    kind: Kind | None
    variances: tuple[float, float]
    longest: float
    key_points: int
    point_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PostProcessing:
    """How boxes come of what a network gives.

    Args:
        driver: the same for who does it outside the file.
        decode: from the network's outputs by name, (1, places, …) each, to sides (1, places, 4) ymin, xmin, ymax, xmax
            as shares of the image, and scores (1, places, classes), 0 to 1.
        inputs: the network's outputs, name to shape without the batch.
        places, classes: boxes before any is left out, and how many classes there are.
        found: what it gives where it suppresses, by the names of `OUTPUTS`.
        score: boxes below are left out.
        form: boxes that a better one overlaps are left out; or all are given, for whoever runs the file to choose.
        points: from the network's outputs to the key points of each box, (1, places, points, 2) y and x as shares; None
            where there are none.
    """

    driver: Decoding
    decode: Callable[[Mapping[str, Any]], tuple[Any, Any]]
    inputs: dict[str, tuple[int, ...]]
    places: int
    classes: int
    found: Sequence[Tensor]
    score: float
    form: Form = "found"
    points: Callable[[Mapping[str, Any]], Any] | None = None

    @property
    def most(self) -> int:
        """Return how many boxes there are at most."""
        return self.driver.most

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Return what it gives."""
        if self.form == "found":
            return tuple(self.found)
        if self.form == "faces":
            numbers = 4 + 2 * FACE_POINTS
            return (Tensor(name=REGRESSORS, dtype="float32", shape=(len(face_anchors()), numbers),
                           meaning="of each anchor centre x and y, width and height of a box, and x and y of six key "
                                   "points: from the anchor's centre, in 128ths of the image"),
                    Tensor(name=SCORE_LOGITS, dtype="float32", shape=(len(face_anchors()), 1),
                           meaning="one per anchor; their sigmoid is the score"))
        return (Tensor(name=LOCATION, dtype="float32", shape=(self.places, 4), role="boxes",
                       meaning="centre y, centre x, height and width as shares of the image"),
                Tensor(name=SCORE, dtype="float32", shape=(self.places, self.classes), role="scores",
                       meaning="0 to 1, one per class, in the order of labels.txt"))


def with_post_processing(content: bytes, behind: PostProcessing) -> bytes:
    """Return a network's file with the decoding of its boxes behind it and, where it suppresses, their suppression,
    class by class.

    What is behind computes in real numbers, also in integer files.

    Args:
        content: a TFLite file of the network alone.

    Raises:
        ValueError: the form has no place for what the network gives.
    """
    if behind.form == "found" and behind.points is not None:
        raise ValueError("post_processing: the operator that suppresses boxes gives no key points: give faces, which "
                         "MediaPipe's FaceDetector opens, or leave it out")
    anchors, points = len(face_anchors()), _point_count(behind)
    if behind.form == "faces" and (behind.classes != 1 or points != FACE_POINTS or behind.places > anchors):
        raise ValueError(f"post_processing: faces is for one class, {FACE_POINTS} key points and at most {anchors} "
                         f"places, as MediaPipe's FaceDetector takes them; the model has {behind.classes}, {points} "
                         f"and {behind.places}")
    names = behind.driver.point_names
    if behind.form == "faces" and set(names) == set(FACE_POINT_NAMES) and names != FACE_POINT_NAMES:
        raise ValueError(f"post_processing: faces has key points in MediaPipe's order, {', '.join(FACE_POINT_NAMES)}; "
                         f"the data have {', '.join(names)}: give them in that order")
    return joined(content, _file(behind))


def centred(boxes: Any) -> tuple[Any, Any]:
    """Return the centres (…, 2) of boxes (…, 4) ymin, xmin, ymax, xmax, and their heights and widths (…, 2)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box and others (boxes, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, 1e-12)


def decoded(behind: PostProcessing, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return `LOCATION` and `SCORE` out of what a network gives."""
    boxes, scores = behind.decode(outputs)
    return {LOCATION: tf.concat(centred(boxes), axis=-1), SCORE: scores}


def face_anchors() -> np.ndarray:
    """Return the centres of the anchors that MediaPipe's FaceDetector knows, (896, 2): y and x as shares."""
    cells = []
    for side, count in FACE_CELLS:
        y, x = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5, indexing="ij")
        cells.append(np.repeat(np.stack([y.ravel(), x.ravel()], axis=1) / side, count, axis=0))
    return np.concatenate(cells).astype("float32")


def as_faces(behind: PostProcessing, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return `REGRESSORS` and `SCORE_LOGITS` out of what a network gives; behind its places are some that stand for
    nothing."""
    assert behind.points is not None
    boxes, scores = behind.decode(outputs)
    centres, sides = centred(boxes)
    anchors = face_anchors()
    missing, own = len(anchors) - behind.places, anchors[:behind.places]
    shifts = tf.concat([centres[:, :, None], behind.points(outputs)], axis=2) - own[:, None]
    shifts = tf.reshape(tf.reverse(shifts, [-1]), (-1, behind.places, 2 * (1 + FACE_POINTS)))
    numbers = tf.concat([shifts[..., :2], tf.reverse(sides, [-1]), shifts[..., 2:]], axis=-1) * FACE_UNIT
    certain = tf.clip_by_value(scores, NEAREST, 1 - NEAREST)
    logits = tf.math.log(certain) - tf.math.log(1 - certain)
    if missing:
        numbers = tf.pad(numbers, [[0, 0], [0, missing], [0, 0]])
        logits = tf.pad(logits, [[0, 0], [0, missing], [0, 0]], constant_values=NOTHING)
    return {REGRESSORS: numbers, SCORE_LOGITS: logits}


def _point_count(behind: PostProcessing) -> int:
    """Return how many key points a box has."""
    if behind.points is None:
        return 0
    given = {name: tf.zeros((1, *shape)) for name, shape in behind.inputs.items()}
    return int(behind.points(given).shape[2])


def _file(behind: PostProcessing) -> bytes:
    """Return the file from the network's outputs to boxes."""
    @tf.function(input_signature=[tf.TensorSpec((1, *shape), tf.float32, name)
                                  for name, shape in behind.inputs.items()])
    def found(*values: Any) -> dict[str, Any]:
        outputs = dict(zip(behind.inputs, values, strict=True))
        if behind.form != "found":
            return (decoded if behind.form == "decoded" else as_faces)(behind, outputs)
        boxes, scores = behind.decode(outputs)
        centres, sides = centred(boxes)
        sides = tf.math.log(tf.maximum(sides, SHORTEST))
        encoded = tf.concat([centres, sides], axis=-1)  # around one box, the whole image
        with_background = tf.concat([tf.zeros((1, behind.places, 1)), scores], axis=-1)
        whole = tf.constant(np.tile(np.array([[0.0, 0.0, 1.0, 1.0]], "float32"), (behind.places, 1)))
        return dict(zip(OUTPUTS, _operator(behind)(encoded, with_background, whole), strict=True))

    module = tf.Module()
    module.found = found
    made = tf.lite.TFLiteConverter.from_concrete_functions([found.get_concrete_function()], module)
    made.allow_custom_ops = True
    return converter.run(made)


def _operator(behind: PostProcessing) -> Any:
    """Return a function that the converter makes the operator of. What it computes itself is of the right shapes
    alone."""
    numbers = {"max_detections": behind.most, "max_classes_per_detection": 1, "detections_per_class": behind.most,
               "num_classes": behind.classes}
    shares = {"nms_score_threshold": max(behind.score, FAINTEST), "nms_iou_threshold": behind.driver.iou,
              "y_scale": 1.0, "x_scale": 1.0, "h_scale": 1.0, "w_scale": 1.0}
    attributes = [*(f'attr {{ key: "{name}" value {{ i: {value} }} }}' for name, value in numbers.items()),
                  *(f'attr {{ key: "{name}" value {{ f: {value} }} }}' for name, value in shares.items()),
                  'attr { key: "use_regular_nms" value { b: true } }']  # class by class; rows behind the last are 0

    @tf.function(experimental_implements=f'name: "{OPERATOR}" {" ".join(attributes)}')
    def suppressed(boxes: Any, scores: Any, anchors: Any) -> tuple[Any, ...]:
        return (tf.zeros((1, behind.most, 4)), tf.zeros((1, behind.most)), tf.zeros((1, behind.most)), tf.zeros((1,)))

    return suppressed


