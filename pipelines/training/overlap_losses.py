"""Losses on how far answers and truth overlap, class by class, beside Dice in `losses`."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from etils import epy
from pydantic import Field

from export.signature import Role
from pipelines.training.losses import Comparison, Loss, probabilities

with epy.lazy_imports():
    import keras


class Tversky(Loss, name="tversky", shorthand="missed"):
    """One minus the overlap of targets t and probabilities p over it, and over what is wrong, weighed by its kind:
    1 - sum(t p) / (sum(t p) + added sum((1 - t) p) + missed sum(t (1 - p))).

    Salehi et al., "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional Deep Networks", 2017,
    equation 4. Of dense outputs the sums run over the positions, class by class, with half a position added to both
    sides of the fraction, so that a class that is nowhere costs little; the classes' mean is the loss. Of one row of
    classes per example they run over the classes. With 0.5 for both weights it is Dice.

    Args:
        missed: weight of positions of a class that are not answered: beta of the paper, the larger the fewer.
        added: weight of positions that are answered and not of the class: alpha of the paper.
    """

    by_position: ClassVar[bool] = False
    missed: float = Field(0.7, gt=0)
    added: float = Field(0.3, gt=0)

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        def overlap(targets: Any, outputs: Any) -> Any:
            scores = probabilities(outputs, role)
            dense = len(scores.shape) > 2
            if dense:
                scores = scores * keras.ops.sum(targets, -1, keepdims=True)  # 0 where the target is no class
            axes = tuple(range(1, len(scores.shape) - 1)) if dense else (1,)
            shared = keras.ops.sum(targets * scores, axes)
            wrong = (self.added * (keras.ops.sum(scores, axes) - shared)
                     + self.missed * (keras.ops.sum(targets, axes) - shared))
            more = 0.5 if dense else 0.0
            return 1.0 - (shared + more) / (shared + wrong + (more or 1e-7))

        return overlap


class Lovasz(Loss, name="lovasz"):
    """Mean of one minus the IoU of each class that the target of an example has, continued to probabilities: the Lovász
    extension of the Jaccard loss, at the errors |t - p|.

    Berman et al., "The Lovász-Softmax Loss: A Tractable Surrogate for the Optimization of the Intersection-over-Union
    Measure in Neural Networks", 2018, equations 8 and 9, image by image.
    """

    by_position: ClassVar[bool] = False

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        ops = keras.ops

        def extension(targets: Any, outputs: Any) -> Any:
            scores = probabilities(outputs, role)
            # (batch, classes, positions); positions of no class have no error, and change nothing
            true, scores = (ops.swapaxes(_in_a_row(values), 1, 2) for values in (targets, scores))
            known = ops.sum(true, 1, keepdims=True)
            errors = ops.abs(true - scores) * known
            order = ops.stop_gradient(ops.argsort(-errors, axis=-1))
            errors = ops.take_along_axis(errors, order, axis=-1)
            slopes = ops.stop_gradient(_slopes(ops.take_along_axis(true, order, axis=-1)))
            present = ops.cast(ops.max(true, -1) > 0, errors.dtype)
            losses = ops.sum(errors * slopes, -1) * present
            return ops.sum(losses, -1) / ops.maximum(ops.sum(present, -1), 1.0)

        return extension


def _in_a_row(values: Any) -> Any:
    """Return (batch, ..., classes) as (batch, positions, classes)."""
    return keras.ops.reshape(values, (-1, math.prod(values.shape[1:-1]), values.shape[-1]))


def _slopes(true: Any) -> Any:
    """Return by how much the Jaccard loss grows with each position that is wrong beside those before it.

    Args:
        true: whether positions are of the class, from the largest error down, (batch, classes, positions).
    """
    ops = keras.ops
    whole = ops.sum(true, -1, keepdims=True)
    shared = whole - ops.cumsum(true, -1)
    union = whole + ops.cumsum(1.0 - true, -1)
    jaccard = 1.0 - shared / ops.maximum(union, 1.0)
    return jaccard - ops.pad(jaccard[..., :-1], ((0, 0), (0, 0), (1, 0)))
