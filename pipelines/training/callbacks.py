"""Callbacks that a recipe can ask for. Checkpoints, the journal and the progress line are always there."""
from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from etils import epy
from pydantic import Field

from pipelines.entries import Entry
from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np

Monitored = Literal["val_accuracy", "val_loss", "accuracy", "loss"]


@dataclasses.dataclass(frozen=True)
class TrainingContext:
    """What a callback may want to know of the training around it.

    Args:
        library: that trains: keras, or tf_keras.
        epochs: of the whole training.
        folder: where the training keeps its files.
        batch_at: gives the training batch of an epoch and a place in it, both counted from 0: pictures and targets.
    """

    library: Any
    epochs: int
    folder: Path
    batch_at: Callable[[int, int], tuple[Any, Any]]


class Callback(Entry):
    """Something that watches the training, epoch by epoch."""

    def build(self, around: TrainingContext) -> Any:
        """The callback, of the library that trains."""
        raise NotImplementedError


class EarlyStopping(Callback, name="early_stopping", shorthand="patience"):
    """Stops when the monitored metric has not improved for `patience` epochs, and keeps the best epoch's weights.

    Args:
        monitor: the metric to watch; an accuracy should rise, a loss fall.
        patience: epochs without improvement to wait.
        min_delta: the smallest change that counts as an improvement.
    """

    monitor: Monitored = "val_accuracy"
    patience: int = Field(5, ge=1)
    min_delta: float = Field(0.0, ge=0)

    def build(self, around: TrainingContext) -> Any:
        return around.library.callbacks.EarlyStopping(
            monitor=self.monitor, patience=self.patience, min_delta=self.min_delta, restore_best_weights=True,
            mode=_direction(self.monitor))


class ReduceOnPlateau(Callback, name="reduce_on_plateau", shorthand="patience"):
    """Multiplies the learning rate by `factor` when the monitored metric has not improved for `patience` epochs.

    It changes the rate itself, so it goes with `schedule: constant` only.
    """

    monitor: Monitored = "val_loss"
    patience: int = Field(3, ge=1)
    factor: float = Field(0.3, gt=0, lt=1)
    lowest: float = Field(1e-6, ge=0)

    def build(self, around: TrainingContext) -> Any:
        return around.library.callbacks.ReduceLROnPlateau(
            monitor=self.monitor, factor=self.factor, patience=self.patience, min_lr=self.lowest, mode=_direction(self.monitor))


class TimeBudget(Callback, name="time_budget", shorthand="minutes"):
    """Ends the training after the epoch in which `minutes` of training are over; what it has reached is what ships.

    The time that an interrupted training had taken counts.
    """

    minutes: float = Field(gt=0)

    def build(self, around: TrainingContext) -> Any:
        budget = 60 * self.minutes

        class Budget(around.library.callbacks.Callback):  # type: ignore[name-defined]
            spent = 0.0

            def on_train_begin(self, logs=None):
                self.spent = 0.0

            def on_epoch_begin(self, epoch, logs=None):
                self._began = time.monotonic()

            def on_epoch_end(self, epoch, logs=None):
                self.spent += time.monotonic() - self._began
                if self.spent >= budget:
                    self.model.stop_training = True

        return Budget()


class TerminateOnNan(Callback, name="terminate_on_nan"):
    """Stops at the first batch whose loss is not a number, and keeps that batch in nan_batch.npz (images, targets).

    Looks at the loss after every batch, which a GPU has to wait for. Without it, the training stops at the end of such an epoch.
    """

    def build(self, around: TrainingContext) -> Any:
        class Guard(around.library.callbacks.Callback):  # type: ignore[name-defined]
            def on_epoch_begin(self, epoch, logs=None):
                self._epoch = epoch

            def on_train_batch_end(self, batch, logs=None):
                if math.isfinite(float((logs or {}).get("loss", 0.0))):
                    return
                images, targets = around.batch_at(self._epoch, batch)
                path = around.folder / "nan_batch.npz"
                np.savez(path, images=images, targets=targets)
                raise UserError(f"train: the loss is {float(logs['loss'])} at batch {batch + 1} of epoch {self._epoch + 1}. The batch is "
                                f"kept in {path}. Look for pictures or targets that are wrong; else try a lower peak in "
                                "train.schedule, or clip_norm: 1 in train.optimizer")

        return Guard()


class TensorBoard(Callback, name="tensorboard", shorthand="folder"):
    """Writes curves for TensorBoard: `tensorboard --logdir runs/tensorboard`.

    Args:
        folder: a folder per training, named after its moment, is made in it.
        histograms: epochs between two histograms of the weights; none where 0.
    """

    folder: str = Field("runs/tensorboard", min_length=1)
    histograms: int = Field(0, ge=0)

    def build(self, around: TrainingContext) -> Any:
        own = Path(self.folder) / time.strftime("%Y%m%d-%H%M%S")
        return around.library.callbacks.TensorBoard(str(own), histogram_freq=self.histograms, write_graph=False)


def _direction(monitor: str) -> str:
    return "max" if monitor.endswith("accuracy") else "min"
