"""The learner of generators with styles: two players, and what StyleGAN2 asks of each beside telling pictures apart."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from etils import epy

from models import stylegan2 as models
from models.variational import CONDITION, GENERATED, IMAGE, NOISE
from pipelines.training.learners.adversarial import Players, adversarial
from pipelines.training.learners.supervised import no_penalty

with epy.lazy_imports():
    import tensorflow as tf

#: How far the mean of path lengths moves at once, and which part of a batch they are measured on.
MOVES, PART = 0.01, 2
#: Pixels of one of the network's units.
LEVELS = 127.5


class Styled(Players, Protocol):
    """What a loss of two players with styles says, see `training.generative.style_gan`."""

    @property
    def r1(self) -> float: ...

    @property
    def r1_every(self) -> int: ...

    @property
    def path_length(self) -> float: ...

    @property
    def path_every(self) -> int: ...

    @property
    def mixing(self) -> float: ...


def styled(library: Any, loss: Styled) -> type:
    """Return the class of learners in which a generator with styles learns against a discriminator (Karras et al.,
    "Analyzing and Improving the Image Quality of StyleGAN", 2020).

    A step is the discriminator's, then the generator's. Each has its penalty at some steps alone, times as many as lie
    between two, together with its loss: one step of its optimizer for both. Noise, what of it is mixed, and the ways
    that pictures are changed in are drawn by the step and by the noise of the batch.
    """
    base: Any = adversarial(library, loss)

    class StyledLearner(base):
        """A model of two players, one of which has styles."""

        def prepare(self, objective: Any, watched: Any, penalty: Any = no_penalty) -> StyledLearner:
            learner = super().prepare(objective, watched, penalty)
            self._game.halves = models.halves(self)
            return learner

        def train_step(self, data: Any) -> Any:
            inputs = data[0]
            step = tf.cast(self.optimizer.iterations, tf.int32)
            seed = tf.stack([tf.reduce_sum(tf.bitcast(inputs[NOISE], tf.int32)), step])
            shape = tf.concat([[4], tf.shape(inputs[NOISE])], axis=0)
            noise = tf.ensure_shape(tf.random.stateless_normal(shape, seed, alg="philox"), [4, *inputs[NOISE].shape])
            self._judge(inputs, noise[:2], seed, step)
            return self._create(inputs, noise[2:], seed, step)

        def _judge(self, inputs: Any, noise: Any, seed: Any, step: Any) -> None:
            """Take a step of the discriminator."""
            variables = self._game.players.discriminator.trainable_variables
            made = self._made(self._styles(inputs, noise, seed))
            image = tf.cast(inputs[IMAGE], made.dtype)
            with tf.GradientTape() as tape:
                real, scores = self._realness(inputs, image, True), self._realness(inputs, made, True)
                value = tf.reduce_mean(loss.of_discriminator(real, scores))
            gradients = _known(tape.gradient(value, variables), variables)

            def penalty() -> list[Any]:
                with tf.GradientTape() as outer:
                    steep = steepness(lambda shown: self._realness(inputs, shown, True), image)
                    weighed = 0.5 * loss.r1 * loss.r1_every * tf.reduce_mean(steep)
                return [weighed, *_known(outer.gradient(weighed, variables), variables)]

            added, *more = self._at_times(penalty, variables, loss.r1, step, loss.r1_every)
            self._change(self._game.rival, variables, gradients, more)
            self._note_discriminator(value + added, real, scores)

        def _create(self, inputs: Any, noise: Any, seed: Any, step: Any) -> Any:
            """Take a step of the generator."""
            variables = self._game.players.generator.trainable_variables
            with tf.GradientTape() as tape:
                made = self._made(self._styles(inputs, noise, seed + 1, note=True))
                value = tf.reduce_mean(loss.of_generator(self._realness(inputs, made, True)))
            gradients = _known(tape.gradient(value, variables), variables)
            memory = self._game.halves.styles.path_length
            count = tf.maximum(tf.shape(made)[0] // PART, 1)
            some = {name: values[:count] for name, values in inputs.items()}

            def penalty() -> list[Any]:
                with tf.GradientTape() as outer:
                    styles = self._styles(some, noise[:, :count], seed + 2)
                    lengths = path_lengths(lambda asked: self._made(asked) / LEVELS, styles, seed + 3)
                    mean = memory + MOVES * (tf.reduce_mean(lengths) - memory)
                    weighed = loss.path_length * loss.path_every * tf.reduce_mean(tf.square(lengths - mean))
                return [mean, *_known(outer.gradient(weighed, variables), variables)]

            mean, *more = self._at_times(penalty, variables, loss.path_length, step, loss.path_every, memory)
            memory.assign(mean)
            self._change(self.optimizer, variables, gradients, more)
            return self._measured(value, inputs, made)

        def _styles(self, inputs: Any, noise: Any, seed: Any, note: bool = False) -> list[Any]:
            """Return a style for each layer: those from some layer on are often those of other noise.

            Args:
                noise: (2, batch, numbers).
                note: whether the mean of all styles moves.
            """
            halves = self._game.halves
            condition = {name: value for name, value in inputs.items() if name == CONDITION}
            first, second = (halves.mapping({**condition, NOISE: one}, training=True) for one in tf.unstack(noise))
            if note:
                halves.styles.note(first)
            return mixed(first, second, halves.styles.count, loss.mixing, seed)

        def _made(self, styles: Sequence[Any]) -> Any:
            return self._game.halves.synthesis(list(styles), training=True)[GENERATED]

        def _at_times(self, penalty: Callable[[], list[Any]], variables: Sequence[Any], weight: float, step: Any,
                      every: int, otherwise: Any = 0.0) -> Any:
            """Return what a penalty gives, a number and gradients, at every so many steps, and no change at others."""
            none = [tf.convert_to_tensor(otherwise), *(tf.zeros_like(variable) for variable in variables)]
            return tf.cond(step % every == 0, penalty, lambda: none) if weight else none

        def _change(self, optimizer: Any, variables: Sequence[Any], gradients: Sequence[Any],
                    more: Sequence[Any]) -> None:
            replicas = tf.distribute.get_strategy().num_replicas_in_sync  # their gradients add up
            total = [(one + other) / replicas for one, other in zip(gradients, more, strict=True)]
            optimizer.apply_gradients(zip(total, variables, strict=True))

    return StyledLearner


def mixed(first: Any, second: Any, count: int, share: float, seed: Any) -> list[Any]:
    """Return a style for each of `count` layers: the first, but for a share of all seeds the second from some layer on,
    which is drawn: section 3.1 of Karras et al., "A Style-Based Generator Architecture", 2019.

    Args:
        first, second: (batch, units).
        seed: int32 (2,).
    """
    chances = tf.random.stateless_uniform([2], seed, alg="philox")
    drawn = 1 + tf.cast(chances[0] * (count - 1), tf.int32)
    other = tf.where(chances[1] < share, drawn, count)
    return [tf.where(number < other, first, second) for number in range(count)]


def steepness(judge: Callable[[Any], Any], image: Any) -> Any:
    """Return the square of the length of the gradient of how real images look, (batch,): R1 of Mescheder et al., "Which
    Training Methods for GANs do actually Converge?", 2018, for pixels of -1..1.

    Args:
        judge: from images, 0..255, to how real they look, (batch,).
        image: (batch, height, width, channels).
    """
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(judge(image))
    slopes = tape.gradient(total, image) * LEVELS
    return tf.reduce_sum(slopes * slopes, axis=(1, 2, 3))


def path_lengths(make: Callable[[list[Any]], Any], styles: Sequence[Any], seed: Any) -> Any:
    """Return how far each picture changes with its styles, in a way that is drawn, (batch,): section 3.2 of the paper,
    and over its layers the root of the mean of squares, as in the authors' code.

    Args:
        make: from styles to pictures, (batch, height, width, channels).
        styles: of each layer, (batch, units).
        seed: int32 (2,), of the ways.
    """
    asked = [tf.identity(style) for style in styles]
    with tf.GradientTape() as tape:
        tape.watch(asked)
        made = make(asked)
        way = tf.random.stateless_normal(tf.shape(made), seed, alg="philox", dtype=made.dtype)
        pixels = tf.cast(tf.shape(made)[1] * tf.shape(made)[2], made.dtype)
        total = tf.reduce_sum(made * way) / tf.sqrt(pixels)
    slopes = tf.stack(tape.gradient(total, asked), axis=1)
    return tf.sqrt(tf.reduce_mean(tf.reduce_sum(slopes * slopes, axis=2), axis=1) + 1e-8)


def _known(gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
    """Return gradients, 0 where a value does not depend on a variable."""
    return [tf.zeros_like(variable) if gradient is None else gradient
            for gradient, variable in zip(gradients, variables, strict=True)]
