"""The learner of latent diffusion: the latents of images at any step of their drowning in noise."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from models import latent_diffusion
from models.latent_diffusion import GENERATED, IMAGE, MEAN, MOST, NOISE, STEP, TOKENS
from pipelines.training.learners.diffusing import diffusing
from pipelines.training.learners.supervised import no_penalty

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from export.writing.diffusion import Target


class _Held:
    """The parts of a model, in an object that Keras does not search for variables: they are the learner's already."""

    def __init__(self, parts: latent_diffusion.Parts):
        self.parts = parts


def diffusing_latents(library: Any, left: np.ndarray, target: Target, dropped: float) -> type:
    """Return the class of learners of keras or tf_keras that learn what is to be taken away of the noisy latents of
    images (Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, equation 2). The
    autoencoder stays as it is.

    Args:
        left, target, dropped: see `learners.diffusing`.
    """
    base: Any = diffusing(library, left, target, dropped)

    class DiffusingLatents(base):
        """A model that is shown noisy latents."""

        def prepare(self, objective: Any, watched: Any, penalty: Any = no_penalty) -> DiffusingLatents:
            self._held = _Held(latent_diffusion.parts(self))
            return super().prepare(objective, watched, penalty)

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> dict[str, Any]:
            asked = {name: inputs[name] for name in (NOISE, STEP, TOKENS)}
            return dict(self._held.parts.network(asked, training=training))

        def shown(self, inputs: Any) -> tuple[Any, Any]:
            seen, true = super().shown(inputs)
            return {**seen, IMAGE: inputs[IMAGE]}, true  # the model has an input for it, whoever looks at that

        def clean(self, inputs: Any) -> Any:
            image = tf.cast(inputs[IMAGE], tf.float32)
            return tf.cast(self._held.parts.encoder(image, training=False)[MEAN], tf.float32)

        def pictures(self, inputs: Any) -> Any:
            """Return pictures of the latents that a few steps of DDIM make of noise, 0..255."""
            latents = self.sampled(inputs, TOKENS, MOST)
            return self._held.parts.decoder(tf.constant(latents), training=False)[GENERATED].numpy()

        @staticmethod
        def shipped(model: Any, outputs: Any) -> Any:
            """Return the whole model: the autoencoder and the text encoder ship too."""
            return model

    return DiffusingLatents
