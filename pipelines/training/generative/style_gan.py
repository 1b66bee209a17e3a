"""The loss of two players of which one has styles."""
from __future__ import annotations

from typing import Any, ClassVar

from etils import epy
from pydantic import Field

from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.learners.styled import styled
from pipelines.training.learners.supervised import Objective

with epy.lazy_imports():
    import tensorflow as tf


class StyleGan(GenerativeLoss, name="style_gan", shorthand="r1"):
    """The loss of StyleGAN2 (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020): that of
    Goodfellow et al. 2014 which does not saturate, with penalties that are worked out at some steps alone.

    Args:
        r1: weight of the squared gradient of the discriminator on real images (Mescheder et al., "Which Training
            Methods for GANs do actually Converge?", 2018): gamma, half of which is a factor.
        r1_every: steps of the discriminator from one such penalty to the next.
        path_length: weight of how far the lengths of the ways that pictures go with styles are from their mean.
        path_every: steps of the generator from one such penalty to the next.
        mixing: share of the batches whose later layers have the styles of other noise.
    """

    #: Of the discriminator, see `training.generative.adversarial`: gradients of any length, as many steps.
    penalty: ClassVar[float] = 0.0
    steps: ClassVar[int] = 1
    r1: float = Field(10.0, ge=0)
    r1_every: int = Field(16, ge=1)
    path_length: float = Field(2.0, ge=0)
    path_every: int = Field(4, ge=1)
    mixing: float = Field(0.9, ge=0, le=1)

    def of_discriminator(self, real: Any, made: Any) -> Any:
        """Return the discriminator's loss, (batch,), by how real images and pictures look to it, (batch,) each."""
        return tf.nn.softplus(-real) + tf.nn.softplus(made)

    def of_generator(self, made: Any) -> Any:
        """Return the generator's loss, (batch,), by how real its pictures look to the discriminator, (batch,)."""
        return tf.nn.softplus(-made)

    def objective(self) -> Objective:
        """Return nothing that is made small: the players have a loss each."""
        def none(inputs: Any, targets: Any, outputs: Any) -> Any:
            raise NotImplementedError

        return none

    def learner(self, library: Any) -> type:
        return styled(library, self)
