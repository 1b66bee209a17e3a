"""The loss of models that separate things: which pixels are inside, and how far."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy
from pydantic import Field

from export.signature import Role
from pipelines.errors import UserError
from pipelines.features.instances import DISTANCE, INSIDE
from pipelines.training.losses import Comparison, Loss

with epy.lazy_imports():
    import keras


class InstancesLoss(Loss, name="instances"):
    """Cross-entropy and Dice of what is inside, and cross-entropy of how far it is.

    The distance is a share, 0 to 1, so that its cross-entropy is smallest where the answer is the share itself.

    Args:
        dice, distance: factors of the second and of the third.
    """

    by_position = False
    dice: float = Field(1.0, ge=0)
    distance: float = Field(1.0, gt=0)

    def build(self, counts: Sequence[int], role: Role) -> Comparison:
        raise UserError("train.loss: instances is for instance_segmentation alone; give another")

    def of_pixels(self, targets: Any, outputs: Any) -> Any:
        """Return the loss of each image, (batch,).

        Args:
            targets: (batch, height, width, 2), see `features.instances`.
            outputs: logits of the same shape.
        """
        ops = keras.ops
        entropy = ops.mean(ops.binary_crossentropy(targets, outputs, from_logits=True), (1, 2))
        loss = entropy[:, INSIDE] + self.distance * entropy[:, DISTANCE]
        if not self.dice:
            return loss
        true, scores = targets[..., INSIDE], ops.sigmoid(outputs[..., INSIDE])
        shared = ops.sum(true * scores, (1, 2))
        whole = ops.sum(true, (1, 2)) + ops.sum(scores, (1, 2))
        return loss + self.dice * (1.0 - (2.0 * shared + 1.0) / (whole + 1.0))
