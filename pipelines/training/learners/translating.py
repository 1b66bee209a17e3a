"""The learner of images that are made of other images, by players with an optimizer for each side."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from etils import epy

from models.patch_gan import GENERATED, IMAGE, TARGET
from pipelines.errors import UserError
from pipelines.training.learners.history import history
from pipelines.training.learners.players import NO_DISCRIMINATOR, VARIETY, apply, playing, variety
from pipelines.training.learners.supervised import no_penalty

with epy.lazy_imports():
    import tensorflow as tf

#: What helps a game that one of the players has lost.
AGAINST_DIVERGENCE = "a larger data.batch"
AGAINST_COLLAPSE = "a larger weight in train.loss"


class Made(NamedTuple):
    """What the makers have made: the pictures that are judged, those like targets first, and the number that is
    measured."""

    images: list[Any]
    measured: Any


class Judged(NamedTuple):
    """How real the patches of images and of pictures look, and the number above which an image is taken for real."""

    real: Any
    made: Any
    threshold: float


class Game(Protocol):
    """What a loss says of the players, see `training.generative.translation`."""

    @property
    def measured(self) -> str: ...

    @property
    def kept(self) -> int: ...

    @property
    def made(self) -> tuple[str, ...]: ...

    def players(self, model: Any) -> Any: ...

    def of_makers(self, players: Any, image: Any, target: Any, training: bool) -> tuple[Any, Made]: ...

    def of_judges(self, players: Any, image: Any, target: Any, made: Made, training: bool) -> tuple[Any, Judged]: ...

    def shipped(self, model: Any) -> Any: ...


def translating(library: Any, game: Game) -> type:
    """Return the class of learners of keras or tf_keras in which makers learn to make images of images, and judges to
    tell these from real ones.

    A step is one of all makers and then one of all judges, of what was made in it or, in part, before, where the game
    keeps pictures. `optimizers` are those of the makers and of the judges.
    """
    base: Any = playing(library, AGAINST_DIVERGENCE, AGAINST_COLLAPSE)

    class Translating(base):
        """A model of players."""

        def prepare(self, objective: Any, watched: Any, penalty: Any = no_penalty) -> Translating:
            if TARGET not in self.input or len(self.output) < 2:
                raise UserError(NO_DISCRIMINATOR)
            self.begin(game.players(self), [game.measured])
            if game.kept:  # layers of the learner: what Keras does not know is in no checkpoint
                self.histories = [history(library, game.kept, tuple(self.output[name].shape[1:]), f"history_{name}")
                                  for name in game.made]
            return super().prepare(objective, watched, penalty)

        def sides(self) -> tuple[Sequence[Any], Sequence[Any]]:
            return _variables(self._game.players.makers), _variables(self._game.players.judges)

        def train_step(self, data: Any) -> Any:
            image, target = _pair(data)
            players = self._game.players
            makers, judges = self.sides()
            with tf.GradientTape() as tape:
                value, made = game.of_makers(players, image, target, True)
            apply(self.optimizer, makers, tape, value)
            made = made._replace(images=[tf.stop_gradient(one) for one in made.images])
            with tf.GradientTape() as tape:
                lost, judged = game.of_judges(players, image, target, self._with_older(made), True)
            apply(self._game.rival, judges, tape, lost)
            return self._measured(value, made, lost, judged, target)

        def test_step(self, data: Any) -> Any:
            image, target = _pair(data)
            value, made = game.of_makers(self._game.players, image, target, False)
            lost, judged = game.of_judges(self._game.players, image, target, made, False)
            return self._measured(value, made, lost, judged, target)

        def _with_older(self, made: Made) -> Made:
            """Return what was made, in part before this step, where pictures are kept."""
            if not game.kept:
                return made
            bits = tf.reduce_sum(tf.bitcast(tf.cast(made.images[0], tf.float32), tf.int32))
            seed = tf.stack([bits, tf.cast(self.optimizer.iterations, tf.int32)])
            return made._replace(images=[one.exchange(images, seed + 2 * number) for number, (one, images) in enumerate(
                zip(self.histories, made.images, strict=True))])

        def pictures(self, inputs: Any) -> Any:
            """Return images and, on the right of each, what is made of it, 0..255 (batch, height, width, channels)."""
            image = tf.cast(inputs[IMAGE], tf.float32)
            made = tf.cast(self._game.players.makers[0]({IMAGE: image}, training=False)[GENERATED], tf.float32)
            return tf.concat([tf.broadcast_to(image, tf.shape(image + made)), made + 0 * image], axis=2)

        def _measured(self, value: Any, made: Made, lost: Any, judged: Judged, target: Any) -> dict[str, Any]:
            count, means = tf.shape(target)[0], self._game.means
            self._loss.update_state(value, sample_weight=count)
            means[game.measured].update_state(made.measured, sample_weight=count)
            self._note_discriminator(lost, judged.real, judged.made, judged.threshold)
            means[VARIETY].update_state(variety(made.images[0], target))
            return self.get_metrics_result()

        @staticmethod
        def shipped(model: Any, outputs: Any) -> Any:
            """Return the makers alone."""
            return game.shipped(model)

    return Translating


def _pair(data: Any) -> tuple[Any, Any]:
    inputs, targets = data[:2]  # of a single batch Keras has weights of examples too
    return inputs[IMAGE], targets[TARGET]


def _variables(models: list[Any]) -> list[Any]:
    return [variable for model in models for variable in model.trainable_variables]
