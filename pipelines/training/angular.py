"""Losses on the angles between an embedding and the identities of training, each a vector that is learnt beside the
network: the head, which does not ship.

What is compared are cosines, (batch, identities), of embeddings of length 1 with the identities' vectors, which
`models.identity_head` makes the length of 1 too. Each loss changes the cosine of the true identity, so that its angle
has to be smaller than the others' by a margin, and is the cross-entropy of `scale` times the cosines.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from etils import epy
from pydantic import Field

from export.signature import Role
from pipelines.training.losses import Comparison, Loss

with epy.lazy_imports():
    import keras

#: Added under roots, and kept from the ends of the range of a cosine, where the arc's derivative is infinite.
EPSILON = 1e-7


class Angular(Loss):
    """What losses on angles have in common.

    Args:
        scale: factor on the cosines, whose logits would else be alike.
    """

    of_identities: ClassVar[bool] = True
    whole_classes: ClassVar[bool] = True
    scale: float = Field(64.0, gt=0)

    @classmethod
    def fits(cls, role: Role) -> bool:
        return role == "embedding"

    def changed(self, cosines: Any) -> Any:
        """Return what stands in place of the cosines were each the true identity's, (batch, identities)."""
        raise NotImplementedError

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True, reduction="none")

        def compare(targets: Any, cosines: Any) -> Any:
            logits = cosines + targets * (self.changed(cosines) - cosines)
            return cross_entropy(targets, self.scale * logits)

        return compare


class ArcFace(Angular, name="arcface", shorthand="margin"):
    """A margin on the angle: cos(angle + margin) for the true identity.

    Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, equation 3. Where the angle
    and the margin are more than half a turn together, cos(angle) - margin sin(margin) stands in its place, as in the
    authors' code, so that it goes on falling.

    Args:
        margin: in radians.
    """

    margin: float = Field(0.5, ge=0, lt=math.pi)

    def changed(self, cosines: Any) -> Any:
        sines = keras.ops.sqrt(keras.ops.relu(1.0 - keras.ops.square(cosines)) + EPSILON)
        rotated = cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        beyond = cosines - self.margin * math.sin(self.margin)
        return keras.ops.where(cosines > -math.cos(self.margin), rotated, beyond)


class CosFace(Angular, name="cosface", shorthand="margin"):
    """A margin on the cosine: cos(angle) - margin for the true identity.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, equation 4.

    Args:
        margin: of the cosine.
    """

    margin: float = Field(0.35, ge=0, lt=2)

    def changed(self, cosines: Any) -> Any:
        return cosines - self.margin


class SphereFace(Angular, name="sphereface", shorthand="margin"):
    """A margin that multiplies the angle: cos(margin angle), continued so that it falls over the whole half turn.

    Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", 2017, equation 7: (-1)^k cos(margin
    angle) - 2 k, where k is the number of half turns in margin angle. It is averaged with the plain cosine, which
    weighs `easing` times as much; the paper lets that fall from 1,500 to 5, here it is constant. Embeddings have the
    length 1 here, and `scale` stands in place of their lengths, which the paper leaves free.

    Args:
        margin: factor on the angle.
        easing: weight of the plain cosine.
    """

    margin: float = Field(4.0, ge=1)
    easing: float = Field(5.0, ge=0)
    scale: float = Field(30.0, gt=0)

    def changed(self, cosines: Any) -> Any:
        angles = self.margin * keras.ops.arccos(keras.ops.clip(cosines, EPSILON - 1.0, 1.0 - EPSILON))
        turns = keras.ops.stop_gradient(keras.ops.floor(angles / math.pi))
        signs = 1.0 - 2.0 * keras.ops.mod(turns, 2.0)
        return (self.easing * cosines + signs * keras.ops.cos(angles) - 2.0 * turns) / (1.0 + self.easing)


class Softmax(Angular, name="softmax", shorthand="scale"):
    """No margin: the cross-entropy of scaled cosines (Wang et al., "NormFace", 2017, equation 8)."""

    scale: float = Field(30.0, gt=0)

    def changed(self, cosines: Any) -> Any:
        return cosines
