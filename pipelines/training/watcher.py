"""The callback that every training has: it checkpoints, writes the journal and reports."""
from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etils import epy

from pipelines.errors import UserError
from pipelines.training import checkpoint
from pipelines.training.transfer import Phase

with epy.lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.training.loop import Training

#: Seconds between two reports within an epoch.
PAUSE = 0.25


def watcher(library: Any, training: Training, callbacks: Sequence[Any], phase: Phase) -> Any:
    """Return the callback for a phase of a training; it must be the last of all, so that it sees what the others did.

    It restores the checkpoint before the first batch, and saves one after the phase's last epoch, after the one in
    which the training stopped, and every `checkpoint_every` epochs.

    Args:
        library: that trains: keras, or tf_keras.
        callbacks: the others, whose memories belong to a checkpoint.

    Raises:
        UserError: in the training, at the end of an epoch whose loss is no longer a number.
    """
    settings = training.settings
    folder = training.folder

    class Watcher(library.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            checkpoint.restore(folder, self.model, callbacks, phase.number)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch
            self.reported = 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if time.monotonic() - self.reported > PAUSE:
                self.reported = time.monotonic()
                epochs = self.epoch + (batch + 1) / training.steps
                training.progress(self.epoch + 1, epochs / settings.epochs, logs or {})

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            metrics = logs or {}
            training.journal.metrics({**metrics, "learning_rate": _learning_rate(self.model)}, step=epoch)
            training.progress(epoch + 1, (epoch + 1) / settings.epochs, metrics)
            _check(metrics.get("loss", 0.0), epoch)
            last = epoch + 1 == phase.last or self.model.stop_training
            if last or (epoch + 1) % settings.checkpoint_every == 0:
                checkpoint.save(folder, self.model, callbacks, epoch + 1, phase.number)

    return Watcher()


def _learning_rate(model: Any) -> float:
    """Return the present rate of the first optimizer, which may be a variable that several devices mirror."""
    return float(tf.convert_to_tensor(checkpoint.optimizers(model)[0].learning_rate))


def _check(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise UserError(f"train: the loss is {loss} after epoch {epoch + 1}. Try a lower peak in train.schedule, or "
                        "clip_norm: 1 in train.optimizer; callbacks: [terminate_on_nan] finds the batch")
