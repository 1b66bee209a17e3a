"""The learner of images that are made of other images, by players with an optimizer for each side."""
from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from etils import epy

from models.patch_gan import GENERATED, IMAGE, TARGET
from pipelines.errors import UserError
from pipelines.training.learners.history import history
from pipelines.training.learners.players import (
    OF_DISCRIMINATOR,
    TOLD_MADE,
    TOLD_REAL,
    VARIETY,
    another,
    apply,
    variety,
    watch,
)
from pipelines.training.learners.supervised import no_penalty, supervised

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


class _State:
    """The players, the judges' optimizer and the means of an epoch, in an object that Keras does not search for
    variables: the layers are the learner's already."""

    def __init__(self, players: Any, means: dict[str, Any]):
        self.players = players
        self.means = means
        self.rival: Any = None


def translating(library: Any, game: Game) -> type:
    """Return the class of learners of keras or tf_keras in which makers learn to make images of images, and judges to
    tell these from real ones.

    A step is one of all makers and then one of all judges, of what was made in it or, in part, before, where the game
    keeps pictures. `optimizers` are those of the makers and of the judges.
    """
    base: Any = supervised(library)

    class Translating(base):
        """A model of players."""

        def prepare(self, objective: Any, watched: Any, penalty: Any = no_penalty) -> Translating:
            if TARGET not in self.input or len(self.output) < 2:
                raise UserError("compress.variants: a variant that is trained needs the discriminator, which does not "
                                "ship; make others")
            names = (OF_DISCRIMINATOR, TOLD_REAL, TOLD_MADE, VARIETY, game.measured)
            self._game = _State(game.players(self), {name: library.metrics.Mean(name=name) for name in names})
            if game.kept:  # layers of the learner: what Keras does not know is in no checkpoint
                self.histories = [history(library, game.kept, tuple(self.output[name].shape[1:]), f"history_{name}")
                                  for name in game.made]
            return super().prepare(objective, watched, penalty)

        def compile(self, optimizer: Any = None, **settings: Any) -> None:
            super().compile(optimizer=optimizer, **settings)
            self._game.rival = another(optimizer)
            optimizer.build(_variables(self._game.players.makers))
            self._game.rival.build(_variables(self._game.players.judges))

        @property
        def optimizers(self) -> list[Any]:
            return [self.optimizer, self._game.rival]

        @property
        def metrics(self) -> list[Any]:
            return [self._loss, *self._game.means.values()]

        def train_step(self, data: Any) -> Any:
            image, target = _pair(data)
            players = self._game.players
            makers, judges = _variables(players.makers), _variables(players.judges)
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

        def fit(self, *arguments: Any, callbacks: Any = (), **settings: Any) -> Any:
            return super().fit(*arguments, callbacks=[watch(library, AGAINST_DIVERGENCE, AGAINST_COLLAPSE), *callbacks],
                               **settings)

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
            means[OF_DISCRIMINATOR].update_state(lost)
            means[TOLD_REAL].update_state(tf.cast(judged.real > judged.threshold, tf.float32))
            means[TOLD_MADE].update_state(tf.cast(judged.made < judged.threshold, tf.float32))
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
