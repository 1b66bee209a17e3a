"""The loss of four players who translate there and back, without pairs."""
from __future__ import annotations

from typing import Any

from etils import epy
from pydantic import Field

from models import cyclegan
from models.cyclegan import INPUT_REALNESS, RETURNED
from models.patch_gan import GENERATED, IMAGE, REALNESS, TARGET
from pipelines.errors import UserError
from pipelines.training.generative.translation import SCALE, Players, Translation
from pipelines.training.learners.players import mean
from pipelines.training.learners.translating import Judged, Made

with epy.lazy_imports():
    import tensorflow as tf

#: Between 0, of what is made, and 1, of what is real.
HALF = 0.5


class CycleGan(Translation, name="cycle_gan", shorthand="weight"):
    """The loss of CycleGAN (Zhu et al. 2017, sections 3 and 4): squares for the players, and what comes back of an
    image is to be that image.

    Args:
        weight: of the mean absolute distance between an image and what comes back of it, both ways, lambda of the
            paper, with pixels as -1..1.
        identity: what a generator makes of an image that is already of its kind is to be that image: the weight beside
            `weight` (section 5.2). 0 for none, and of images with other channels than their targets none can be.
        history: pictures of each kind that are kept, some of which discriminators see in place of new ones. 0 for none.
    """

    measured = "cycle_error"
    made = (GENERATED, RETURNED)
    history: int = Field(50, ge=0)
    weight: float = Field(10.0, ge=0)
    identity: float = Field(0.5, ge=0)

    @property
    def kept(self) -> int:
        return self.history

    def check(self, image: Any, target: Any) -> None:
        """Raise UserError where images and targets are of unequal kinds and yet are to be made of themselves."""
        if self.identity and image[-1] != target[-1]:
            raise UserError(f"train.loss.cycle_gan.identity makes images of their own kind, and data.image has "
                            f"{image[-1]} channels and data.target {target[-1]}: set it to 0, or give both the same")

    def players(self, model: Any) -> Players:
        parts = cyclegan.parts(model)
        return Players([parts.there, parts.back], [parts.of_targets, parts.of_images])

    def of_makers(self, players: Players, image: Any, target: Any, training: bool) -> tuple[Any, Made]:
        there, back = players.makers
        made, made_back = _there(there, image, training), _back(back, target, training)
        cycled, cycled_back = _back(back, made, training), _there(there, made_back, training)
        cycle = _distance(cycled, image)
        value = mean((_seen_target(players, made, training) - 1) ** 2)
        value += mean((_seen_image(players, made_back, training) - 1) ** 2)
        value += self.weight * (cycle + _distance(cycled_back, target)) / SCALE
        if self.identity:
            same = _distance(_there(there, target, training), target) + _distance(_back(back, image, training), image)
            value += self.weight * self.identity * same / SCALE
        return value, Made([made, made_back], cycle)

    def of_judges(self, players: Players, image: Any, target: Any, made: Made, training: bool) -> tuple[Any, Judged]:
        real, scores = (_seen_target(players, one, training) for one in (target, made.images[0]))
        real_image, scores_image = (_seen_image(players, one, training) for one in (image, made.images[1]))
        value = sum(mean((one - 1) ** 2) for one in (real, real_image)) + sum(
            mean(one ** 2) for one in (scores, scores_image))
        return value / 2, Judged(tf.concat([real, real_image], 0), tf.concat([scores, scores_image], 0), HALF)

    def shipped(self, model: Any) -> Any:
        return cyclegan.both_ways(model)


def _there(maker: Any, image: Any, training: bool) -> Any:
    return maker({IMAGE: image}, training=training)[GENERATED]


def _back(maker: Any, target: Any, training: bool) -> Any:
    return maker({TARGET: target}, training=training)[RETURNED]


def _seen_target(players: Players, image: Any, training: bool) -> Any:
    return tf.cast(players.judges[0]({TARGET: image}, training=training)[REALNESS], tf.float32)


def _seen_image(players: Players, image: Any, training: bool) -> Any:
    return tf.cast(players.judges[1]({IMAGE: image}, training=training)[INPUT_REALNESS], tf.float32)


def _distance(one: Any, other: Any) -> Any:
    """Return the mean absolute distance of two images, 0..255."""
    return mean(tf.abs(tf.cast(one, tf.float32) - tf.cast(other, tf.float32)))
