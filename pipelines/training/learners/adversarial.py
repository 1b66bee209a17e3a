"""The learner of two players, each with an optimizer of its own."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from etils import epy

from models import dcgan as models
from models.dcgan import CONDITION, GENERATED, IMAGE, NOISE, REALNESS
from pipelines.errors import UserError
from pipelines.training.learners.players import NO_DISCRIMINATOR, VARIETY, apply, mean, playing, variety
from pipelines.training.learners.supervised import no_penalty

with epy.lazy_imports():
    import tensorflow as tf

#: What helps a game that one of the players has lost.
AGAINST_DIVERGENCE = "model.normalization: spectral"
AGAINST_COLLAPSE = "the wasserstein loss with model.normalization: none"


class Players(Protocol):
    """What a loss of two players says, see `training.generative.adversarial`."""

    @property
    def penalty(self) -> float: ...

    @property
    def steps(self) -> int: ...

    def of_discriminator(self, real: Any, made: Any) -> Any: ...

    def of_generator(self, made: Any) -> Any: ...


def adversarial(library: Any, loss: Players) -> type:
    """Return the class of learners of keras or tf_keras in which a discriminator learns to tell pictures from real
    images, and a generator to make pictures that it takes for real.

    A step is the discriminator's, some times, and then the generator's. Noise is drawn anew for each, by the step and
    by the noise of the batch. `optimizers` are those of the generator and of the discriminator.
    """
    base: Any = playing(library, AGAINST_DIVERGENCE, AGAINST_COLLAPSE)

    class AdversarialLearner(base):
        """A model of two players."""

        def prepare(self, objective: Any, watched: Any, penalty: Any = no_penalty) -> AdversarialLearner:
            if REALNESS not in self.output:
                raise UserError(NO_DISCRIMINATOR)
            self.begin(models.parts(self))
            return super().prepare(objective, watched, penalty)

        def sides(self) -> tuple[Sequence[Any], Sequence[Any]]:
            players = self._game.players
            return players.generator.trainable_variables, players.discriminator.trainable_variables

        def train_step(self, data: Any) -> Any:
            inputs = data[0]
            noise = _noises(inputs[NOISE], tf.cast(self.optimizer.iterations, tf.int32), loss.steps)
            for number in range(loss.steps):
                self._discriminate(inputs, noise[number])
            generator = self._game.players.generator
            with tf.GradientTape() as tape:
                made = generator({**_condition(inputs), NOISE: noise[-1]}, training=True)[GENERATED]
                value = mean(loss.of_generator(self._realness(inputs, made, True)))
            apply(self.optimizer, generator.trainable_variables, tape, value)
            return self._measured(value, inputs, made)

        def test_step(self, data: Any) -> Any:
            inputs = data[0]
            made = self.pictures(inputs)
            scores = self._realness(inputs, made, False)
            real = self._realness(inputs, inputs[IMAGE], False)
            self._note_discriminator(mean(loss.of_discriminator(real, scores)), real, scores)
            return self._measured(mean(loss.of_generator(scores)), inputs, made)

        def pictures(self, inputs: Any) -> Any:
            """Return what the generator makes of noise, 0..255 (batch, height, width, channels)."""
            asked = {**_condition(inputs), NOISE: inputs[NOISE]}
            return self._game.players.generator(asked, training=False)[GENERATED]

        def _discriminate(self, inputs: Any, noise: Any) -> None:
            """Take a step of the discriminator."""
            made = self._game.players.generator({**_condition(inputs), NOISE: noise}, training=True)[GENERATED]
            image = tf.cast(inputs[IMAGE], made.dtype)
            with tf.GradientTape() as tape:
                real, scores = self._realness(inputs, image, True), self._realness(inputs, made, True)
                value = mean(loss.of_discriminator(real, scores))
                if loss.penalty:
                    value += loss.penalty * self._steepness(inputs, image, made)
            apply(self._game.rival, self._game.players.discriminator.trainable_variables, tape, value)
            self._note_discriminator(value, real, scores)

        def _steepness(self, inputs: Any, image: Any, made: Any) -> Any:
            """Return (|gradient| - 1)^2 of how real images look that lie anywhere between real ones and pictures."""
            bits = tf.reduce_sum(tf.bitcast(tf.cast(made, tf.float32), tf.int32))
            seed = tf.stack([bits, tf.cast(self.optimizer.iterations, tf.int32)])
            share = tf.random.stateless_uniform([tf.shape(image)[0], 1, 1, 1], seed, dtype=image.dtype, alg="philox")
            between = image + share * (made - image)
            with tf.GradientTape() as tape:
                tape.watch(between)
                scores = self._realness(inputs, between, True)
            slopes = tape.gradient(scores, between) * 127.5  # pixels are -1..1 to the network
            length = tf.sqrt(tf.reduce_sum(slopes * slopes, axis=(1, 2, 3)) + 1e-12)
            return mean((length - 1) ** 2)

        def _realness(self, inputs: Any, image: Any, training: bool) -> Any:
            """Return how real images look, (batch,)."""
            shown = {**_condition(inputs), IMAGE: image}
            return tf.cast(self._game.players.discriminator(shown, training=training)[REALNESS][:, 0], tf.float32)

        def _measured(self, value: Any, inputs: Any, made: Any) -> dict[str, Any]:
            self._loss.update_state(value, sample_weight=tf.shape(made)[0])
            self._game.means[VARIETY].update_state(variety(made, inputs[IMAGE]))
            return self.get_metrics_result()

        @staticmethod
        def shipped(model: Any, outputs: Any) -> Any:
            """Return the generator alone."""
            return models.parts(model).generator

    return AdversarialLearner


def _noises(noise: Any, step: Any, count: int) -> Any:
    """Return noise for each step of the discriminator and, last, for the generator's, (count + 1, batch, ...)."""
    own = tf.reduce_sum(tf.bitcast(noise, tf.int32))
    shape = tf.concat([[count + 1], tf.shape(noise)], axis=0)
    drawn = tf.random.stateless_normal(shape, tf.stack([own, step]), alg="philox")
    return tf.ensure_shape(drawn, [count + 1, *noise.shape])


def _condition(inputs: Any) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name == CONDITION}
