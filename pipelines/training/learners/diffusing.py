"""The learner of diffusion models: images at any step of their drowning in noise."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from models.ddpm import CONDITION, DENOISED, NOISE, STEP
from pipelines.training.learners.supervised import supervised

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from export.writing import diffusion

if TYPE_CHECKING:
    from export.writing.diffusion import Target

IMAGE = "image"
#: Steps of the pictures that are made to look at.
SHORT = 20


def diffusing(library: Any, left: np.ndarray, target: Target, dropped: float) -> type:
    """Return the class of learners of keras or tf_keras that make images noisy and learn what is to be taken away (Ho
    et al., "Denoising Diffusion Probabilistic Models", 2020, algorithm 1).

    The noise and the steps of training are drawn anew for each batch, by the training step; those of validation are the
    examples' own.

    Args:
        left: of an image at each step, see `export.writing.diffusion.signal`.
        target: what is learnt.
        dropped: share of the examples that are learnt without their condition.
    """
    base: Any = supervised(library)
    kept = np.asarray(left, np.float32)

    class Diffusing(base):
        """A model that is shown noisy images."""

        def train_step(self, data: Any) -> Any:
            return super().train_step(_noisy(_redrawn(data[0], self.optimizer.iterations, len(kept) - 1, dropped)))

        def test_step(self, data: Any) -> Any:
            return super().test_step(_noisy(data[0]))

        def pictures(self, inputs: Any) -> Any:
            """Return what a few steps of DDIM make of noise, 0..255 (batch, height, width, channels)."""
            network = self._traced()
            condition = {name: value for name, value in inputs.items() if name == CONDITION}

            def denoise(x: np.ndarray, step: int) -> np.ndarray:
                steps = np.full(len(x), step, np.float32)
                return tf.cast(network({**condition, NOISE: x, STEP: steps}), tf.float32).numpy()  # type: ignore[no-any-return]

            steps = diffusion.plan(left, min(SHORT, len(left) - 1), "ddim")
            return 127.5 * (diffusion.sampled(denoise, np.asarray(inputs[NOISE]), steps, target) + 1)

        def _traced(self) -> Any:
            """Return the network as a graph, which is made once."""
            if not hasattr(self, "_graph_of_pictures"):
                self._graph_of_pictures = tf.function(lambda asked: self(asked, training=False)[DENOISED])
            return self._graph_of_pictures

    def _noisy(inputs: Any) -> tuple[Any, Any]:
        """Return a batch as the network sees it, and what it should say."""
        image = tf.cast(inputs[IMAGE], tf.float32) / 127.5 - 1
        of_step = tf.gather(kept, tf.cast(inputs[STEP], tf.int32))[:, None, None, None]
        signals, noises = tf.sqrt(of_step), tf.sqrt(1 - of_step)
        noise = inputs[NOISE]
        true = {"velocity": signals * noise - noises * image, "noise": noise, "image": image}[target]
        seen = {NOISE: signals * image + noises * noise, STEP: inputs[STEP]}
        if CONDITION in inputs:
            seen[CONDITION] = inputs[CONDITION]
        return seen, {DENOISED: true}

    return Diffusing


def _redrawn(inputs: Any, iteration: Any, steps: int, dropped: float) -> dict[str, Any]:
    """Return a batch with other noise and steps, and without some of its conditions, by the training step and by the
    noise that it has."""
    noise = inputs[NOISE]
    count = tf.shape(noise)[0]
    seed = tf.stack([tf.reduce_sum(tf.bitcast(noise, tf.int32)), tf.cast(iteration, tf.int32)])
    chances = tf.random.stateless_uniform([2, count], seed + 1, alg="philox")
    drawn = tf.ensure_shape(tf.random.stateless_normal(tf.shape(noise), seed, alg="philox"), noise.shape)
    result = {**inputs, NOISE: drawn, STEP: 1 + tf.floor(chances[0] * steps)}
    if CONDITION in inputs:
        result[CONDITION] = inputs[CONDITION] * tf.cast(chances[1] >= dropped, tf.float32)[:, None]
    return result
