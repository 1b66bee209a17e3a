"""The loss of detectors without anchors: classes, boxes and the distributions of their distances."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epy
from pydantic import Field

from models.box_coding import RAW_BOXES, RAW_LOGITS, Points
from pipelines.training.detection.assigning import Assigned, Truth, in_crowds, task_aligned
from pipelines.training.detection.detector_loss import DetectorLoss, shared
from pipelines.training.detection.overlap import Kind, overlap

with epy.lazy_imports():
    import tensorflow as tf

#: What keeps a distance below the last of its whole numbers.
BELOW = 0.01


class Detection(DetectorLoss, name="detection"):
    """Classes by cross-entropy, boxes by their overlap, and the distributions of distances by cross-entropy.

    Which points answer for a box is found anew at each step, by how well they answer it already (Feng et al., "TOOD",
    2021); the scores that they are to give are soft. The distributions are those of Li et al., "Generalized Focal
    Loss", 2020. All is divided by the sum of the scores that a batch is to give.

    Args:
        boxes: the overlap that is made large: iou, giou, diou or ciou.
        box_weight, class_weight, distance_weight: factors of the three.
        points: that answer for a box, at most.
        alpha, beta: how much the score and the overlap count where points are chosen.
    """

    reads = Points
    boxes: Kind = "ciou"
    box_weight: float = Field(7.5, ge=0)
    class_weight: float = Field(0.5, gt=0)
    distance_weight: float = Field(1.5, ge=0)
    points: int = Field(10, ge=1)
    alpha: float = Field(0.5, ge=0)
    beta: float = Field(6.0, ge=0)

    def of_images(self, coding: Points, truth: Truth, outputs: Mapping[str, Any]) -> Any:
        boxes, logits = outputs[RAW_BOXES], outputs[RAW_LOGITS]
        decoded, points = coding.decode(boxes), tf.constant(coding.points())
        assigned = task_aligned(truth, points, tf.sigmoid(logits), decoded, most=self.points, alpha=self.alpha,
                                beta=self.beta)
        weights = tf.reduce_sum(assigned.scores, axis=-1)
        counted = tf.maximum(1 - in_crowds(truth, points), assigned.chosen)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(assigned.scores, logits)
        classes = tf.reduce_sum(entropy * counted[..., None], axis=[1, 2])
        apart = tf.reduce_sum((1 - overlap(decoded, assigned.boxes, self.boxes)) * weights, axis=1)
        loss = self.class_weight * classes + self.box_weight * apart
        if coding.bins > 1:
            loss += self.distance_weight * _distances(coding, assigned, boxes, weights)
        return shared(loss, tf.reduce_sum(weights))


def _distances(coding: Points, assigned: Assigned, boxes: Any, weights: Any) -> Any:
    """Return the cross-entropy of the distributions of distances with the two whole numbers around the true ones,
    (batch,), each point by its weight."""
    true = tf.clip_by_value(coding.encode(assigned.boxes), 0.0, coding.bins - 1 - BELOW)
    logits = tf.reshape(boxes, [-1, coding.count, 4, coding.bins])
    below = tf.floor(true)
    share = true - below
    lower = tf.cast(below, tf.int32)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    values = entropy(lower, logits) * (1 - share) + entropy(lower + 1, logits) * share
    return tf.reduce_sum(tf.reduce_mean(values, axis=-1) * weights, axis=1)
