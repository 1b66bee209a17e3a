"""Callbacks that a recipe can ask for. Checkpoints, the journal and the progress line are always there."""
from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import Field

from pipelines.entries import Entry

Monitored = Literal["val_accuracy", "val_loss", "accuracy", "loss"]


class Callback(Entry):
    """Something that watches the training, epoch by epoch."""

    def build(self, library: Any) -> Any:
        """The callback, of the library that trains: keras, or tf_keras."""
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

    def build(self, library: Any) -> Any:
        return library.callbacks.EarlyStopping(
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

    def build(self, library: Any) -> Any:
        return library.callbacks.ReduceLROnPlateau(
            monitor=self.monitor, factor=self.factor, patience=self.patience, min_lr=self.lowest, mode=_direction(self.monitor))


class TimeBudget(Callback, name="time_budget", shorthand="minutes"):
    """Ends the training after the epoch in which `minutes` of training are over; what it has reached is what ships.

    The time that an interrupted training had taken counts.
    """

    minutes: float = Field(gt=0)

    def build(self, library: Any) -> Any:
        budget = 60 * self.minutes

        class Budget(library.callbacks.Callback):
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


def _direction(monitor: str) -> str:
    return "max" if monitor.endswith("accuracy") else "min"
