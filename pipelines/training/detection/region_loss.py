"""The loss of Faster R-CNN: of the network that proposes regions, and of the one that says what is in them."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epy
from pydantic import Field

from models.anchors import movement
from models.box_coding import PROPOSALS, RAW_BOXES, RAW_LOGITS
from models.faster_rcnn import ANCHOR_BOXES, ANCHOR_OBJECTNESS
from models.regions import Regions
from pipelines.training.detection.assigning import Truth
from pipelines.training.detection.detector_loss import DetectorLoss, smooth_l1
from pipelines.training.detection.matching import Matched, by_overlap, highest

with epy.lazy_imports():
    import tensorflow as tf


class RegionDetection(DetectorLoss, name="region_detection"):
    """Of some anchors, whether they hold anything, and of some regions, what: by cross-entropy, with smooth L1 on the
    boxes of those that do.

    Ren et al., "Faster R-CNN", 2015, section 3.1.2, and Girshick, "Fast R-CNN", 2015, section 2.3. Which anchors and
    regions are asked is drawn at random, by what the network gives: the same network draws the same.

    Args:
        anchors, anchor_share: anchors of an image that are asked, and how many of them hold something, at most.
        anchor_positive, anchor_negative: overlap from which an anchor holds a box, and below which it holds none.
        regions, region_share: regions of an image that are asked, and how many of them hold something, at most.
        region_positive: overlap from which a region holds a box.
        beta: where smooth L1 turns from a square into a line.
    """

    reads = Regions
    anchors: int = Field(256, ge=2)
    anchor_share: float = Field(0.5, gt=0, lt=1)
    anchor_positive: float = Field(0.7, gt=0, le=1)
    anchor_negative: float = Field(0.3, gt=0, le=1)
    regions: int = Field(512, ge=2)
    region_share: float = Field(0.25, gt=0, lt=1)
    region_positive: float = Field(0.5, gt=0, le=1)
    beta: float = Field(1 / 9, gt=0)

    def of_images(self, coding: Regions, truth: Truth, outputs: Mapping[str, Any]) -> Any:
        return self.of_anchors(coding, truth, outputs) + self.of_regions(coding, truth, outputs)

    def of_anchors(self, coding: Regions, truth: Truth, outputs: Mapping[str, Any]) -> Any:
        """Return the loss of the network that proposes regions, (batch,)."""
        objectness, deltas = outputs[ANCHOR_OBJECTNESS][..., 0], outputs[ANCHOR_BOXES]
        matched = by_overlap(truth, tf.constant(coding.anchors.anchors()), self.anchor_positive, self.anchor_negative,
                             best=True)
        found, nothing = drawn(matched, objectness, self.anchors, self.anchor_share)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(found, objectness)
        apart = tf.reduce_sum(smooth_l1(deltas - coding.anchors.encode(matched.boxes), self.beta), axis=-1)
        return _mean(entropy * (found + nothing) + apart * found, found + nothing)

    def of_regions(self, coding: Regions, truth: Truth, outputs: Mapping[str, Any]) -> Any:
        """Return the loss of what is said of regions, (batch,)."""
        proposals, logits = outputs[PROPOSALS], outputs[RAW_LOGITS]
        there = tf.cast(tf.reduce_all(proposals[..., 2:] > proposals[..., :2], axis=-1), tf.float32)
        matched = by_overlap(truth, proposals, self.region_positive, self.region_positive, best=False)
        matched = Matched(matched.boxes, matched.classes, matched.found * there, matched.nothing * there)
        found, nothing = drawn(matched, logits[..., 0], self.regions, self.region_share)
        wanted = tf.where(found > 0, matched.classes + 1, 0)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits)
        sides = tf.maximum(proposals[..., 2:] - proposals[..., :2], 1.0)  # of regions that are none, too
        whole = tf.concat([proposals[..., :2], proposals[..., :2] + sides], axis=-1)
        true = movement(whole, matched.boxes, coding.variances)
        given = tf.reshape(outputs[RAW_BOXES], [-1, coding.count, logits.shape[-1], 4])
        apart = tf.reduce_sum(smooth_l1(tf.gather(given, wanted, axis=2, batch_dims=2) - true, self.beta), axis=-1)
        return _mean(entropy * (found + nothing) + apart * found, found + nothing)


def drawn(matched: Matched, given: Any, count: int, share: float) -> tuple[Any, Any]:
    """Return which places are asked, of those that are to find something and of those that are to find nothing: 1 or 0,
    (batch, places) each.

    Args:
        given: something of the network's for each place, (batch, places), which the draw depends on.
        count: places of an image, at most.
        share: of them that are to find something, at most; the others fill up.
    """
    seed = tf.stack([tf.bitcast(tf.reduce_sum(tf.cast(given, tf.float32)), tf.int32), 1])
    order = tf.random.stateless_uniform(tf.shape(matched.found), tf.stop_gradient(seed), minval=0.01)
    found = highest(order * matched.found, tf.fill(tf.shape(order)[:1], max(1, int(count * share))))
    left = count - tf.cast(tf.reduce_sum(found, axis=1), tf.int32)
    return found, highest(order * matched.nothing, left)


def _mean(losses: Any, asked: Any) -> Any:
    """Return the mean of the losses of those that are asked, (batch,)."""
    return tf.math.divide_no_nan(tf.reduce_sum(losses, axis=1), tf.reduce_sum(asked, axis=1))
