"""The loss of diffusion models: how far off what a network says of a noisy image is."""
from __future__ import annotations

from typing import Any

from etils import epy
from pydantic import Field

from models.ddpm import DENOISED
from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.learners.supervised import Objective

with epy.lazy_imports():
    import tensorflow as tf


class Denoising(GenerativeLoss, name="denoising", shorthand="dropped"):
    """The mean square of what a network says of a noisy image less what is true (Ho et al. 2020, equation 14).

    Args:
        dropped: share of the examples that are learnt without their class, so that pictures can be guided (Ho &
            Salimans, "Classifier-Free Diffusion Guidance", 2022).
    """

    dropped: float = Field(0.1, ge=0, lt=1)

    def objective(self) -> Objective:
        def squared(inputs: Any, targets: Any, outputs: Any) -> Any:
            return tf.reduce_mean(tf.square(outputs[DENOISED] - targets[DENOISED]), axis=(1, 2, 3))

        return squared
