"""The loss of detectors with anchors: SSD, RetinaNet and BlazeFace."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from etils import epy
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models.anchors import Anchors
from models.box_coding import RAW_BOXES, RAW_LOGITS, RAW_POINTS
from pipelines.training.detection.assigning import Truth
from pipelines.training.detection.detector_loss import DetectorLoss, shared, smooth_l1
from pipelines.training.detection.matching import Matched, by_overlap, highest
from pipelines.training.detection.overlap import overlap

with epy.lazy_imports():
    import tensorflow as tf


class AnchorDetection(DetectorLoss, name="anchor_detection"):
    """Classes by focal loss, or by cross-entropy on the anchors that are most wrong, and boxes by their distance from
    the true ones.

    An anchor answers for a box that it overlaps enough, and the best one of a box in any case. All is divided by how
    many anchors of a batch do. Lin et al., "Focal Loss for Dense Object Detection", 2017; with `hard_negatives`, Liu et
    al., "SSD", 2016, section 2.2.

    Args:
        positive: overlap from which an anchor answers.
        negative: overlap below which it is to find nothing.
        gamma, alpha: of the focal loss; 0 and 0.5 are half the cross-entropy.
        hard_negatives: cross-entropy in the place of the focal loss, on so many anchors that are to find nothing for
            each one that answers, those that are most wrong.
        boxes: smooth_l1 on what the network gives, or an overlap that is made large: iou, giou, diou or ciou.
        beta: where smooth_l1 turns from a square into a line.
        box_weight: factor of the boxes.
        point_weight: factor of the key points, where the detector has such: by smooth_l1 on what the network gives,
            that turns into a line at 1, the mean over those that are marked.
    """

    reads = Anchors
    positive: float = Field(0.5, gt=0, le=1)
    negative: float = Field(0.4, gt=0, le=1)
    gamma: float = Field(2.0, ge=0)
    alpha: float = Field(0.25, gt=0, lt=1)
    hard_negatives: float | None = Field(None, gt=0)
    boxes: Literal["smooth_l1", "iou", "giou", "diou", "ciou"] = "smooth_l1"
    beta: float = Field(1 / 9, gt=0)
    box_weight: float = Field(1.0, ge=0)
    point_weight: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def must_be_in_order(self) -> AnchorDetection:
        if self.negative > self.positive:
            raise PydanticCustomError("overlaps", "negative is at most positive: an anchor cannot answer for a box and "
                                                  "for none")
        return self

    def of_images(self, coding: Anchors, truth: Truth, outputs: Mapping[str, Any]) -> Any:
        boxes, logits = outputs[RAW_BOXES], outputs[RAW_LOGITS]
        matched = by_overlap(truth, tf.constant(coding.anchors()), self.positive, self.negative, best=True)
        wanted = tf.one_hot(matched.classes, logits.shape[-1]) * matched.found[..., None]
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits)
        if self.hard_negatives is None:
            scores = tf.sigmoid(logits)
            missing = wanted * (1 - scores) + (1 - wanted) * scores
            share = wanted * self.alpha + (1 - wanted) * (1 - self.alpha)
            if self.gamma < 1:  # its gradient is not finite at 0
                missing = tf.maximum(missing, 1e-6)
            each = tf.reduce_sum(share * missing**self.gamma * entropy, axis=-1)
            classes = tf.reduce_sum(each * (matched.found + matched.nothing), axis=1)
        else:
            each = tf.reduce_sum(entropy, axis=-1)
            classes = tf.reduce_sum(each * (matched.found + _hardest(each, matched, self.hard_negatives)), axis=1)
        apart = self.box_weight * self._apart(coding, boxes, matched.boxes)
        if coding.key_points:
            apart += self.point_weight * _points_apart(coding, truth, matched, outputs[RAW_POINTS])
        return shared(classes + tf.reduce_sum(apart * matched.found, axis=1), tf.reduce_sum(matched.found))

    def _apart(self, coding: Anchors, boxes: Any, true: Any) -> Any:
        """Return how far each anchor's box is from the true one, (batch, anchors)."""
        if self.boxes == "smooth_l1":
            return tf.reduce_sum(smooth_l1(boxes - coding.encode(true), self.beta), axis=-1)
        return 1 - overlap(coding.decode(boxes), true, self.boxes)


def _points_apart(coding: Anchors, truth: Truth, matched: Matched, given: Any) -> Any:
    """Return how far the key points of each anchor are from the true ones, (batch, anchors).

    Args:
        given: by the network, (batch, anchors, 2 * points).
    """
    true = tf.gather(truth.points, matched.owner, axis=1, batch_dims=1)
    shifts = tf.reshape(given, (-1, coding.count, coding.key_points, 2))
    each = tf.reduce_sum(smooth_l1(shifts - coding.encode_points(true[..., :2]), 1.0), axis=-1)
    marked = true[..., 2]
    return tf.math.divide_no_nan(tf.reduce_sum(each * marked, axis=-1), tf.reduce_sum(marked, axis=-1))


def _hardest(losses: Any, matched: Matched, ratio: float) -> Any:
    """Return 1 for the places that are to find nothing and are most wrong, `ratio` for each one of their image that is
    to find something, else 0: (batch, places). An image without any has one, so that it counts."""
    negative = tf.stop_gradient(losses) * matched.nothing
    wanted = tf.cast(tf.math.ceil(ratio * tf.maximum(tf.reduce_sum(matched.found, axis=1), 1.0)), tf.int32)
    return highest(negative, wanted)
