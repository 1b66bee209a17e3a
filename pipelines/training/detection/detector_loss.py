"""What the losses of detectors have in common."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from etils import epy

from export.signature import Role
from models.box_coding import BoxCoding
from pipelines.errors import UserError
from pipelines.training.detection.assigning import Truth
from pipelines.training.losses import Comparison, Loss

with epy.lazy_imports():
    import tensorflow as tf


class DetectorLoss(Loss):
    """What training a detector makes small: a function of what is true of images and what the network gives."""

    by_position = False
    #: How boxes must be written.
    reads: ClassVar[type[BoxCoding]]

    def build(self, counts: Sequence[int], role: Role) -> Comparison:
        raise UserError(f"train.loss: {self.entry_name} is for object_detection alone; give another")

    def of_images(self, coding: Any, truth: Truth, outputs: Mapping[str, Any]) -> Any:
        """Return the loss of each image, (batch,), so that their mean is the loss of the batch.

        Args:
            coding: how the boxes are read, of the kind `reads`.
            truth: what is in the images.
            outputs: what the network gives, by name.
        """
        raise NotImplementedError


def over_replicas(value: Any) -> Any:
    """Return the sum of a number over all replicas that train together: without others, the number."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def shared(losses: Any, total: Any) -> Any:
    """Return the loss of each image where the sum over a batch is to be divided by a total of the whole batch, such as
    how many places find something: so that the mean over the images is that.

    Args:
        losses: (batch,).
        total: (), of this replica's part of the batch; counted as 1 at least.
    """
    images = over_replicas(tf.cast(tf.shape(losses)[0], losses.dtype))
    return losses * images / tf.maximum(over_replicas(total), 1.0)


def smooth_l1(difference: Any, beta: float) -> Any:
    """Return half the square of a difference over beta where it is below beta, else the difference less half of beta
    (Girshick, "Fast R-CNN", 2015, equation 3, there with beta 1)."""
    size = tf.abs(difference)
    return tf.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)
