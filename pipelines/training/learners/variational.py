"""The learner of variational autoencoders: what it makes of an image's own noise is compared with the image."""
from __future__ import annotations

from typing import Any

from etils import epy

from models import variational as models
from pipelines.training.learners.redrawn import redrawn
from pipelines.training.learners.supervised import no_penalty

with epy.lazy_imports():
    import tensorflow as tf


class _Held:
    """The halves of a model, in an object that Keras does not search for variables: they are the learner's already."""

    def __init__(self, parts: models.Parts):
        self.parts = parts


def variational(library: Any) -> type:
    """Return the class of learners of keras or tf_keras that make each image again of noise that is drawn of what the
    encoder says of it: mean + exp(log_variance / 2) * noise (Kingma & Welling 2014, section 2.4).

    The noise of training is drawn anew at each step, by the step; that of validation is the examples' own.
    """
    base: Any = redrawn(library, redraw_noise)

    class Variational(base):
        """A model whose decoder is given, while it is fitted, what the encoder says."""

        def prepare(self, objective: Any, watched: Any, penalty: Any = no_penalty) -> Variational:
            self._halves = _Held(models.parts(self))
            return super().prepare(objective, watched, penalty)

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> dict[str, Any]:
            halves = self._halves.parts
            said = halves.encoder(inputs[models.IMAGE], training=training)
            deviation = tf.exp(0.5 * said[models.LOG_VARIANCE])
            noise = said[models.MEAN] + deviation * tf.cast(inputs[models.NOISE], deviation.dtype)
            asked = {models.NOISE: noise, **{name: value for name, value in inputs.items() if name == models.CONDITION}}
            return {**halves.decoder(asked, training=training), **said}

        def pictures(self, inputs: Any) -> Any:
            """Return what the decoder makes of noise, 0..255 (batch, height, width, channels)."""
            asked = {name: value for name, value in inputs.items() if name in (models.NOISE, models.CONDITION)}
            return self._halves.parts.decoder(asked, training=False)[models.GENERATED]

        def train_step(self, data: Any) -> Any:
            return super().train_step(data[:2])  # of a single batch Keras has weights of examples too

        @staticmethod
        def shipped(model: Any, outputs: Any) -> Any:
            """Return the whole model: its encoder ships too."""
            return model

    return Variational


def redraw_noise(inputs: Any, targets: Any, step: Any) -> tuple[Any, Any]:
    """Return a batch with other noise, by the step and by the noise that it has, which is that of its examples: the
    same training gives the same, and replicas see other noise."""
    noise = inputs[models.NOISE]
    own = tf.reduce_sum(tf.bitcast(noise, tf.int32))
    drawn = tf.random.stateless_normal(tf.shape(noise), tf.stack([own, step]), alg="philox")
    return {**inputs, models.NOISE: tf.ensure_shape(drawn, noise.shape)}, targets
