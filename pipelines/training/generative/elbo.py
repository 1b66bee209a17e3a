"""The evidence lower bound, by which variational autoencoders learn."""
from __future__ import annotations

import math
from typing import Any

from etils import epy
from pydantic import Field

from models.variational import IMAGE, LOCATION, LOG_SCALE, LOG_VARIANCE, MEAN
from pipelines.training.generative.loss import GenerativeLoss
from pipelines.training.learners.supervised import Objective
from pipelines.training.learners.variational import variational

with epy.lazy_imports():
    import tensorflow as tf

#: A pixel has one of so many levels, 0 to the largest.
LEVELS, LARGEST = 256, 255.0
#: Half of a level, in pixels of 0..1.
HALF = 0.5 / LARGEST
#: A level's share below this is its density times its width: the difference of two sigmoids has no digits left.
THIN = 1e-5


class Elbo(GenerativeLoss, name="elbo", shorthand="beta"):
    """The evidence lower bound (Kingma & Welling, "Auto-Encoding Variational Bayes", 2014), in bits for each number of
    an image: what the image costs, given the noise that it could be made of, and what that noise costs.

    Args:
        beta: factor on the second; above 1 the numbers of the noise mean more by themselves, and pictures are less
            sharp (Higgins et al., "beta-VAE", 2017).
    """

    beta: float = Field(1.0, gt=0)

    def objective(self) -> Objective:
        def bits(inputs: Any, targets: Any, outputs: Any) -> Any:
            image, of_noise = costs(inputs, outputs)
            return image + self.beta * of_noise

        return bits

    def learner(self, library: Any) -> type:
        return variational(library)


def costs(inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """Return the bits of images given their noise, and those of the noise, each for each number of an image, (batch,).

    Args:
        inputs: images, 0..255, (batch, height, width, channels).
        outputs: `location` and `log_scale` of their pixels, `mean` and `log_variance` of their noise.
    """
    image = tf.cast(inputs[IMAGE], tf.float32)
    share = 1 / (math.log(2) * math.prod(image.shape[1:]))
    known = log_probability(image, outputs[LOCATION], outputs[LOG_SCALE])
    mean, log_variance = outputs[MEAN], outputs[LOG_VARIANCE]
    of_each = tf.exp(log_variance) + mean * mean - 1 - log_variance
    divergence = 0.5 * tf.reduce_sum(of_each, axis=tf.range(1, tf.rank(of_each)))
    return -share * tf.reduce_sum(known, axis=(1, 2, 3)), share * divergence


def log_probability(image: Any, location: Any, log_scale: Any) -> Any:
    """Return the logarithm of the probability of each pixel's level: what a logistic distribution has within half a
    level of it, and of the first and the last one all that lies beyond (Salimans et al., "PixelCNN++", 2017, section
    2.1).

    Args:
        image: levels 0..255.
        location, log_scale: of the distributions, in pixels of 0..1.
    """
    inverse = tf.exp(-log_scale)
    middle = inverse * (image / LARGEST - location)
    above, below = middle + inverse * HALF, middle - inverse * HALF
    thick = tf.sigmoid(above) - tf.sigmoid(below)
    density = middle - log_scale - 2 * tf.nn.softplus(middle) - math.log(LARGEST)
    inside = tf.where(thick > THIN, tf.math.log(tf.maximum(thick, THIN)), density)
    outer = tf.where(image < 0.5, -tf.nn.softplus(-above), -tf.nn.softplus(below))
    return tf.where((image < 0.5) | (image > LARGEST - 0.5), outer, inside)
