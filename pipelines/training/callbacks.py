"""Callbacks that a recipe can ask for. Checkpoints, the journal and the progress line are always there."""
from __future__ import annotations

from typing import Literal

from etils import epy
from pydantic import Field

from pipelines.entries import Entry

with epy.lazy_imports():
    import keras


class Callback(Entry):
    """Something that watches the training, epoch by epoch."""

    def build(self) -> keras.callbacks.Callback:
        """The Keras callback."""
        raise NotImplementedError


class EarlyStopping(Callback, name="early_stopping", shorthand="patience"):
    """Stops when the monitored metric has not improved for `patience` epochs, and keeps the best epoch's weights.

    Args:
        monitor: the metric to watch; an accuracy should rise, a loss fall.
        patience: epochs without improvement to wait.
        min_delta: the smallest change that counts as an improvement.
    """

    monitor: Literal["val_accuracy", "val_loss", "accuracy", "loss"] = "val_accuracy"
    patience: int = Field(5, ge=1)
    min_delta: float = Field(0.0, ge=0)

    def build(self) -> keras.callbacks.Callback:
        return keras.callbacks.EarlyStopping(
            monitor=self.monitor, patience=self.patience, min_delta=self.min_delta, restore_best_weights=True,
            mode="max" if self.monitor.endswith("accuracy") else "min")
