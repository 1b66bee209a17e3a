"""The loss of models that say what is said, without knowing when."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

from export.signature import Role
from pipelines.errors import UserError
from pipelines.training.losses import Comparison, Loss

with epy.lazy_imports():
    import tensorflow as tf


class CtcLoss(Loss, name="ctc"):
    """Connectionist temporal classification (Graves et al. 2006): minus the logarithm of the probability of all ways to
    spread a transcript over the frames, a character's share of it. The blank is number 0."""

    by_position = False

    def build(self, counts: Sequence[int], role: Role) -> Comparison:
        raise UserError("train.loss: ctc is for speech_recognition alone; give another")

    def of_frames(self, labels: Any, logits: Any) -> Any:
        """Return the loss of each recording, (batch,).

        Args:
            labels: int32 (batch, characters), 0 behind the last.
            logits: (batch, frames, characters and blank); no probabilities, which would be wrong without an error.
        """
        length = tf.reduce_sum(tf.cast(labels != 0, tf.int32), axis=1)
        frames = tf.fill(tf.shape(length), tf.shape(logits)[1])
        loss = tf.nn.ctc_loss(labels, logits, length, frames, logits_time_major=False, blank_index=0)
        return loss / tf.cast(tf.maximum(length, 1), tf.float32)
