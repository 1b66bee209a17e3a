"""What games of players have in common: an optimizer for each, and the end of a game that one of them has lost."""
from __future__ import annotations

import math
from typing import Any

from etils import epy

from pipelines.errors import UserError
from pipelines.training.optimizers import UNDECAYED

with epy.lazy_imports():
    import tensorflow as tf

#: Pictures of one batch that differ less than this share of how much real images do are of one kind: a collapse.
COLLAPSED = 0.02
#: What is measured of the players, beside the generator's loss.
OF_DISCRIMINATOR, TOLD_REAL, TOLD_MADE, VARIETY = "discriminator_loss", "told_real", "told_made", "variety"


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
