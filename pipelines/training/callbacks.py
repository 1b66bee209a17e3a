"""Callbacks that a recipe can ask for. Checkpoints, the journal and the progress line are always there."""
from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from etils import epy
from pydantic import Field

from pipelines.entries import Entry
from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np


class Metric(Protocol):
    """What a callback must know of a metric that is measured while a model trains."""

    @property
    def name(self) -> str: ...

    @property
    def better(self) -> Literal["higher", "lower"]: ...


@dataclasses.dataclass(frozen=True)
class TrainingContext:
    """What a callback may want to know of the training around it.

    Args:
        library: that trains: keras, or tf_keras.
        epochs: of the whole training.
        folder: where the training keeps its files.
        batch_at: gives the training batch of an epoch at a position in it, both counted from 0: inputs and targets by
            name.
        monitored: the metrics that are measured beside the loss, on both splits; the first is what callbacks look at.
    """

    library: Any
    epochs: int
    folder: Path
    batch_at: Callable[[int, int], tuple[Any, Any]]
    monitored: Sequence[Metric] = ()

    def monitor(self, name: str | None) -> dict[str, str]:
        """Return a Keras callback's `monitor` and `mode`.

        Args:
            name: of a metric, with `val_` before it on the validation split; the first one's on that split where not
                given.

        Raises:
            UserError: there is no such metric.
        """
        modes = {metric.name: "max" if metric.better == "higher" else "min" for metric in self.monitored}
        modes.setdefault("loss", "min")
        name = name or f"val_{next(iter(modes))}"
        if name.removeprefix("val_") not in modes:
            measured = ", ".join(f"{split}{metric}" for metric in modes for split in ("val_", ""))
            raise UserError(f"train.callbacks: {name} is not measured while the model trains; it can be {measured}")
        return {"monitor": name, "mode": modes[name.removeprefix("val_")]}


class Callback(Entry):
    """Something that watches the training, epoch by epoch."""

    def build(self, context: TrainingContext) -> Any:
        """Return the callback, of the library that trains."""
        raise NotImplementedError


class EarlyStopping(Callback, name="early_stopping", shorthand="patience"):
    """Stops when the monitored metric has not improved for `patience` epochs, and keeps the best epoch's weights.

    Args:
        monitor: the metric to watch; the task's first on the validation split, for instance val_accuracy, where not
            given.
        patience: epochs without improvement to wait.
        min_delta: the smallest change that counts as an improvement.
    """

    monitor: str | None = None
    patience: int = Field(5, ge=1)
    min_delta: float = Field(0.0, ge=0)

    def build(self, context: TrainingContext) -> Any:
        return context.library.callbacks.EarlyStopping(
            **context.monitor(self.monitor), patience=self.patience, min_delta=self.min_delta,
            restore_best_weights=True)


class ReduceOnPlateau(Callback, name="reduce_on_plateau", shorthand="patience"):
    """Multiplies the learning rate by `factor` when the monitored metric has not improved for `patience` epochs.

    It changes the rate itself, so it goes with `schedule: constant` only.
    """

    monitor: str = "val_loss"
    patience: int = Field(3, ge=1)
    factor: float = Field(0.3, gt=0, lt=1)
    lowest: float = Field(1e-6, ge=0)

    def build(self, context: TrainingContext) -> Any:
        return context.library.callbacks.ReduceLROnPlateau(
            **context.monitor(self.monitor), factor=self.factor, patience=self.patience, min_lr=self.lowest)


class TimeBudget(Callback, name="time_budget", shorthand="minutes"):
    """Ends the training after the epoch in which `minutes` of training are over; what it has reached is what ships.

    The time that an interrupted training had taken counts.
    """

    minutes: float = Field(gt=0)

    def build(self, context: TrainingContext) -> Any:
        budget = 60 * self.minutes

        class Budget(context.library.callbacks.Callback):  # type: ignore[name-defined]
            spent = 0.0

            def on_train_begin(self, logs: Any = None) -> None:
                self.spent = 0.0

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self._began = time.monotonic()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                self.spent += time.monotonic() - self._began
                if self.spent >= budget:
                    self.model.stop_training = True

        return Budget()


class TerminateOnNan(Callback, name="terminate_on_nan"):
    """Stops at the first batch whose loss is not a number, and keeps that batch in nan_batch.npz.

    Its arrays are called inputs.NAME and targets.NAME. It looks at the loss after every batch, which a GPU has to wait
    for. Without it, the training stops at the end of such an epoch.
    """

    def build(self, context: TrainingContext) -> Any:
        class Guard(context.library.callbacks.Callback):  # type: ignore[name-defined]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self._epoch = epoch

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                loss = float((logs or {}).get("loss", 0.0))
                if math.isfinite(loss):
                    return
                path = _keep_batch(context, self._epoch, batch)
                raise UserError(
                    f"train: the loss is {loss} at batch {batch + 1} of epoch {self._epoch + 1}. The batch is kept in "
                    f"{path}. Look for inputs or targets that are wrong; else try a lower peak in train.schedule, or "
                    "clip_norm: 1 in train.optimizer")

        return Guard()


class TensorBoard(Callback, name="tensorboard", shorthand="folder"):
    """Writes curves for TensorBoard: `tensorboard --logdir runs/tensorboard`.

    Args:
        folder: a folder per training, named after its moment, is made in it.
        histograms: epochs between two histograms of the weights; none where 0.
    """

    folder: str = Field("runs/tensorboard", min_length=1)
    histograms: int = Field(0, ge=0)

    def build(self, context: TrainingContext) -> Any:
        folder = Path(self.folder) / time.strftime("%Y%m%d-%H%M%S")
        return context.library.callbacks.TensorBoard(str(folder), histogram_freq=self.histograms, write_graph=False)


def _keep_batch(context: TrainingContext, epoch: int, position: int) -> Path:
    inputs, targets = context.batch_at(epoch, position)
    arrays = {f"inputs.{name}": value for name, value in inputs.items()}
    arrays |= {f"targets.{name}": value for name, value in targets.items()}
    path = context.folder / "nan_batch.npz"
    np.savez(path, **arrays)
    return path
