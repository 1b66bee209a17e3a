"""The loss of autoencoders with a codebook."""
from __future__ import annotations

import math
from typing import Any

from etils import epy
from pydantic import Field

from models.variational import IMAGE, LOCATION, LOG_SCALE
from models.vqvae import CODES, LOGITS_OF_CODES, QUANTIZED, VECTORS
from pipelines.training.generative.elbo import log_probability
from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.learners.quantizing import quantizing
from pipelines.training.learners.supervised import Objective

with epy.lazy_imports():
    import tensorflow as tf


class Quantized(GenerativeLoss, name="quantized", shorthand="commitment"):
    """What an image costs given its codes, and what the codes cost, in bits for each number of the image; the distance
    of the codebook from what the encoder says, and of that from the codebook (van den Oord et al. 2017, equation 3).

    Args:
        commitment: weight of the last, beta in the paper.
    """

    commitment: float = Field(0.25, ge=0)

    def objective(self) -> Objective:
        def total(inputs: Any, targets: Any, outputs: Any) -> Any:
            said, chosen = outputs[VECTORS], outputs[QUANTIZED]
            nearer = tf.reduce_mean(tf.square(tf.stop_gradient(said) - chosen), axis=(1, 2, 3))
            kept = tf.reduce_mean(tf.square(said - tf.stop_gradient(chosen)), axis=(1, 2, 3))
            return bits(inputs, outputs) + nearer + self.commitment * kept

        return total

    def learner(self, library: Any) -> type:
        return quantizing(library)


def bits(inputs: Any, outputs: Any) -> Any:
    """Return what images cost by their codes, and the codes, in bits for each number of an image, (batch,)."""
    image = tf.cast(inputs[IMAGE], tf.float32)
    known = tf.reduce_sum(log_probability(image, outputs[LOCATION], outputs[LOG_SCALE]), axis=(1, 2, 3))
    codes = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(outputs[CODES], outputs[LOGITS_OF_CODES]),
                          axis=1)
    return (codes - known) / (math.log(2) * math.prod(image.shape[1:]))
