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
        length = tf.reduce_sum(tf.cast(labels != 0, tf.float32), axis=1)
        frames = tf.fill(tf.shape(logits)[:1], tf.shape(logits)[1])
        # sparse labels go to a kernel, and dense ones through a loop over the frames, which takes thirty times as long
        loss = tf.nn.ctc_loss(tf.sparse.from_dense(labels), logits, None, frames, logits_time_major=False,
                              blank_index=0)
        return loss / tf.maximum(length, 1.0)
