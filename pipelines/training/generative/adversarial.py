"""The losses of two players: a generator, and a discriminator that tells its pictures from real ones."""
from __future__ import annotations

from typing import Any, ClassVar

from etils import epy
from pydantic import Field

from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.learners.adversarial import adversarial
from pipelines.training.learners.supervised import Objective

with epy.lazy_imports():
    import tensorflow as tf


class Adversarial(GenerativeLoss):
    """What two players make small, each for itself."""

    #: Weight of the gradient's distance from length 1 (Gulrajani et al. 2017); none where 0.
    penalty: float = 0.0
    #: Steps of the discriminator for each of the generator.
    steps: int = 1
    #: Whether each image is judged by itself, and batch normalization in the discriminator is out of place.
    alone: ClassVar[bool] = False

    def of_discriminator(self, real: Any, made: Any) -> Any:
        """Return the discriminator's loss, (batch,), by how real images and pictures look to it, (batch,) each."""
        raise NotImplementedError

    def of_generator(self, made: Any) -> Any:
        """Return the generator's loss, (batch,), by how real its pictures look to the discriminator, (batch,)."""
        raise NotImplementedError

    def objective(self) -> Objective:
        """Return nothing that is made small: the players have a loss each."""
        def none(inputs: Any, targets: Any, outputs: Any) -> Any:
            raise NotImplementedError

        return none

    def learner(self, library: Any) -> type:
        return adversarial(library, self)


class Gan(Adversarial, name="gan", shorthand="smoothing"):
    """The loss of Goodfellow et al., "Generative Adversarial Nets", 2014, which does not saturate: section 3.

    Args:
        smoothing: real images are to look real with a probability of 1 less this alone (Salimans et al., "Improved
            Techniques for Training GANs", 2016, section 3.4).
    """

    smoothing: float = Field(0.0, ge=0, lt=0.5)

    def of_discriminator(self, real: Any, made: Any) -> Any:
        return _entropy(1 - self.smoothing, real) + _entropy(0.0, made)

    def of_generator(self, made: Any) -> Any:
        return _entropy(1.0, made)


class HingeGan(Adversarial, name="hinge_gan"):
    """The hinge loss of two players (Lim & Ye, "Geometric GAN", 2017), which goes with spectral normalization."""

    def of_discriminator(self, real: Any, made: Any) -> Any:
        return tf.nn.relu(1 - real) + tf.nn.relu(1 + made)

    def of_generator(self, made: Any) -> Any:
        return -made


class Wasserstein(Adversarial, name="wasserstein", shorthand="penalty"):
    """The Wasserstein distance with a penalty on gradients (Gulrajani et al., "Improved Training of Wasserstein GANs",
    2017). It wants a discriminator without normalization of batches: model.normalization: none.

    Args:
        penalty: weight of (|gradient| - 1)^2 between real images and pictures.
        steps: of the discriminator for each of the generator.
    """

    alone = True
    penalty: float = Field(10.0, ge=0)
    steps: int = Field(5, ge=1, le=20)

    def of_discriminator(self, real: Any, made: Any) -> Any:
        return made - real

    def of_generator(self, made: Any) -> Any:
        return -made


def _entropy(expected: float, scores: Any) -> Any:
    return tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(scores), expected), scores)
