"""What games of players have in common: an optimizer for each side, and the end of a game that one of them has lost."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from etils import epy

from pipelines.errors import UserError
from pipelines.training.learners.supervised import supervised
from pipelines.training.optimizers import UNDECAYED

with epy.lazy_imports():
    import tensorflow as tf

#: Pictures of one batch that differ less than this share of how much real images do are of one kind: a collapse.
COLLAPSED = 0.02
#: What is measured of the players, beside the generator's loss.
OF_DISCRIMINATOR, TOLD_REAL, TOLD_MADE, VARIETY = "discriminator_loss", "told_real", "told_made", "variety"
#: What is said where a model without the judges is to be trained.
NO_DISCRIMINATOR = ("compress.variants: a variant that is trained needs the discriminator, which does not ship; make "
                    "others")


class _Game:
    """The players, the optimizer of those that judge and the means of an epoch, in an object that Keras does not search
    for variables: the layers are the learner's already."""

    def __init__(self, players: Any, means: dict[str, Any]):
        self.players = players
        self.means = means
        self.rival: Any = None


def playing(library: Any, against_divergence: str, against_collapse: str) -> type:
    """Return what learners of keras or tf_keras have in common in which some players make pictures, and others tell
    these from real images. `optimizers` are those of the makers and of the judges.

    Args:
        against_divergence, against_collapse: see `watch`.
    """
    base: Any = supervised(library)

    class Playing(base):
        """A model of players."""

        def begin(self, players: Any, names: Sequence[str] = ()) -> None:
            """Begin a game, before `compile`.

            Args:
                names: of what is measured beside the players.
            """
            measured = (OF_DISCRIMINATOR, TOLD_REAL, TOLD_MADE, VARIETY, *names)
            self._game = _Game(players, {name: library.metrics.Mean(name=name) for name in measured})

        def sides(self) -> tuple[Sequence[Any], Sequence[Any]]:
            """Return the variables that the makers learn, and those that the judges do."""
            raise NotImplementedError

        def compile(self, optimizer: Any = None, **settings: Any) -> None:
            super().compile(optimizer=optimizer, **settings)
            self._game.rival = another(optimizer)
            makers, judges = self.sides()
            optimizer.build(makers)
            self._game.rival.build(judges)

        @property
        def optimizers(self) -> list[Any]:
            return [self.optimizer, self._game.rival]

        @property
        def metrics(self) -> list[Any]:
            return [self._loss, *self._game.means.values()]

        def fit(self, *arguments: Any, callbacks: Any = (), **settings: Any) -> Any:
            return super().fit(*arguments, callbacks=[watch(library, against_divergence, against_collapse), *callbacks],
                               **settings)

        def _note_discriminator(self, value: Any, real: Any, scores: Any, threshold: float = 0.0) -> None:
            means = self._game.means
            means[OF_DISCRIMINATOR].update_state(value)
            means[TOLD_REAL].update_state(tf.cast(real > threshold, tf.float32))
            means[TOLD_MADE].update_state(tf.cast(scores < threshold, tf.float32))

    return Playing


def another(optimizer: Any) -> Any:
    """Return an optimizer with the settings of another, and no state of it."""
    settings = optimizer.get_config()
    rate = optimizer._learning_rate
    settings["learning_rate"] = float(optimizer.learning_rate) if hasattr(rate, "assign") else rate
    result = type(optimizer)(**settings)
    if settings.get("weight_decay"):
        result.exclude_from_weight_decay(var_names=UNDECAYED)
    return result


def apply(optimizer: Any, variables: Any, tape: Any, value: Any) -> None:
    """Take a step of an optimizer down the gradient of a loss."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync  # their gradients add up
    gradients = [gradient / replicas for gradient in tape.gradient(value, variables)]
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def mean(values: Any) -> Any:
    """Return the mean of numbers, in float32."""
    return tf.reduce_mean(tf.cast(values, tf.float32))


def variety(made: Any, real: Any) -> Any:
    """Return how far the pictures of a batch differ, as a share of how far real images do. Images that are all alike,
    of a batch of one above all, say nothing of how pictures should differ: 1 then."""
    known = _spread(real)
    return tf.where(known > 0, _spread(made) / tf.maximum(known, 1e-6), 1.0)


def _spread(images: Any) -> Any:
    """Return how far the images of a batch differ, pixel by pixel."""
    return tf.reduce_mean(tf.math.reduce_std(tf.cast(images, tf.float32), axis=0))


def watch(library: Any, against_divergence: str, against_collapse: str) -> Any:
    """Return the callback that stops a game which one of the players has lost.

    Args:
        against_divergence, against_collapse: what to try, beside a lower peak.
    """

    class Watch(library.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            known = logs or {}
            if not math.isfinite(known.get(OF_DISCRIMINATOR, 0.0)):
                raise UserError(f"train: the players diverge: the discriminator's loss is {known[OF_DISCRIMINATOR]} "
                                f"after epoch {epoch + 1}. Try a lower peak in train.schedule, or {against_divergence}")
            if known.get(VARIETY, 1.0) < COLLAPSED:
                raise UserError(f"train: the generator has collapsed: the pictures of a batch differ by "
                                f"{known[VARIETY]:.1%} of what real ones do after epoch {epoch + 1}. Try a lower peak "
                                f"in train.schedule, or {against_collapse}")

    return Watch()
