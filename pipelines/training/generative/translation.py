"""The losses of games about images that are made of other images."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from etils import epy
from pydantic import Field

from models import pix2pix
from models.patch_gan import GENERATED, IMAGE, REALNESS, TARGET
from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.learners.players import mean
from pipelines.training.learners.supervised import Objective
from pipelines.training.learners.translating import Judged, Made, translating

with epy.lazy_imports():
    import tensorflow as tf

#: From pixels to what the networks see of them, -1..1.
SCALE = 127.5


class Players(NamedTuple):
    """Who plays: each is a list of models, which learn together."""

    makers: list[Any]
    judges: list[Any]


class Translation(GenerativeLoss):
    """What the players make small, each for itself."""

    #: What is measured of the makers beside their loss, in levels of a pixel.
    measured: ClassVar[str]
    #: The outputs of the model that the makers make.
    made: ClassVar[tuple[str, ...]] = (GENERATED,)

    @property
    def kept(self) -> int:
        """Return how many pictures of each are kept, which judges may see again later."""
        return 0

    def objective(self) -> Objective:
        """Return nothing that is made small: the players have a loss each."""
        def none(inputs: Any, targets: Any, outputs: Any) -> Any:
            raise NotImplementedError

        return none

    def learner(self, library: Any) -> type:
        return translating(library, self)

    def players(self, model: Any) -> Players:
        """Return the parts of a model that play."""
        raise NotImplementedError

    def of_makers(self, players: Players, image: Any, target: Any, training: bool) -> tuple[Any, Made]:
        """Return what the makers make small, a number, and what they have made of images, 0..255 (batch, height, width,
        channels)."""
        raise NotImplementedError

    def of_judges(self, players: Players, image: Any, target: Any, made: Made, training: bool) -> tuple[Any, Judged]:
        """Return what the judges make small, a number, and how real images and pictures look to them."""
        raise NotImplementedError

    def check(self, image: Any, target: Any) -> None:
        """Raise UserError where it does not fit images and targets of these shapes."""

    def shipped(self, model: Any) -> Any:
        """Return what ships of a model."""
        raise NotImplementedError


class PairedGan(Translation, name="paired_gan", shorthand="weight"):
    """The loss of Pix2Pix (Isola et al. 2017, section 3.1): of two players, the generator is to be near the target too.

    Args:
        weight: of the mean absolute distance from the target, lambda of the paper, with pixels as -1..1.
    """

    measured = "distance"
    weight: float = Field(100.0, ge=0)

    def players(self, model: Any) -> Players:
        parts = pix2pix.parts(model)
        return Players([parts.generator], [parts.discriminator])

    def of_makers(self, players: Players, image: Any, target: Any, training: bool) -> tuple[Any, Made]:
        made = players.makers[0]({IMAGE: image}, training=training)[GENERATED]
        distance = mean(tf.abs(tf.cast(made, tf.float32) - tf.cast(target, tf.float32)))
        scores = self._seen(players, image, made, training)
        return mean(_entropy(1.0, scores)) + self.weight * distance / SCALE, Made([made], distance)

    def of_judges(self, players: Players, image: Any, target: Any, made: Made, training: bool) -> tuple[Any, Judged]:
        real = self._seen(players, image, target, training)
        scores = self._seen(players, image, made.images[0], training)
        value = mean(_entropy(1.0, real)) + mean(_entropy(0.0, scores))
        return value / 2, Judged(real, scores, 0.0)  # halved, so that it learns more slowly: section 3.3

    def shipped(self, model: Any) -> Any:
        return pix2pix.parts(model).generator

    @staticmethod
    def _seen(players: Players, image: Any, target: Any, training: bool) -> Any:
        judge: Callable[..., Any] = players.judges[0]
        return tf.cast(judge({IMAGE: image, TARGET: tf.cast(target, image.dtype)}, training=training)[REALNESS],
                       tf.float32)


def _entropy(expected: float, scores: Any) -> Any:
    return tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(scores), expected), scores)
