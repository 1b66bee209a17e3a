"""Averages of the weights over the training, which generalize better than the last weights do."""
from __future__ import annotations

import functools
from typing import Any

from etils import epy
from pydantic import Field

from pipelines.training.callbacks import Callback, TrainingContext

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class Averaged(Callback):
    """What both averages share: the average is what is validated, what early stopping keeps, and what ships.

    All weights are averaged, the moving statistics of batch normalization among them.
    """

    def watcher(self, library: Any) -> type:
        """Return the class of callbacks that keep an average, show it to the validation, and ship it."""

        class Average(library.callbacks.Callback):
            def __init__(self) -> None:
                super().__init__()
                self.updates = 0
                self.shown = False
                self._held: list[tf.Variable] = []

            @property
            def averages(self) -> list[np.ndarray]:
                """Return the averages; while they are shown, the weights that training goes on with."""
                return [variable.numpy() for variable in self._held]

            @averages.setter
            def averages(self, values: list[np.ndarray]) -> None:
                for variable, value in zip(self._kept(), values, strict=True):
                    variable.assign(value)

            def _kept(self) -> list[Any]:
                if not self._held:
                    with self.model.distribute_strategy.scope():
                        self._held = [tf.Variable(weight, trainable=False) for weight in self.model.get_weights()]
                return self._held

            def add(self, share: Any) -> None:
                """Move the averages by `share` towards the present weights."""
                _move()(self._kept(), _values(self.model), tf.cast(share, tf.float32))
                self.updates += 1

            def exchange(self) -> None:
                present = self.model.get_weights()
                self.model.set_weights([variable.numpy() for variable in self._kept()])
                for variable, value in zip(self._held, present, strict=True):
                    variable.assign(value)
                self.shown = not self.shown

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                if self.shown:
                    self.exchange()

            def on_train_end(self, logs: Any = None) -> None:
                if self.updates and not self.shown:
                    self.exchange()

        return Average


class Ema(Averaged, name="ema", shorthand="decay"):
    """An exponential moving average of the weights (Polyak & Juditsky 1992).

    After each step, average = decay * average + (1 - decay) * weights.

    Args:
        decay: at most; the first steps have less, (1 + step) / (10 + step).
    """

    decay: float = Field(0.999, gt=0, lt=1)

    def build(self, context: TrainingContext) -> Any:
        most = self.decay

        class Moving(self.watcher(context.library)):  # type: ignore[misc]
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                self.add(1 - min(most, (1 + self.updates) / (10 + self.updates)))

            def on_test_begin(self, logs: Any = None) -> None:
                if not self.shown:
                    self.exchange()

        return Moving()


class Swa(Averaged, name="swa", shorthand="start"):
    """The mean of the weights at the ends of the last epochs (stochastic weight averaging, Izmailov et al. 2018).

    Args:
        start: share of the epochs after which averaging begins.
    """

    start: float = Field(0.75, ge=0, lt=1)

    def build(self, context: TrainingContext) -> Any:
        first = int(self.start * context.epochs)

        class Mean(self.watcher(context.library)):  # type: ignore[misc]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                super().on_epoch_begin(epoch, logs)
                self._epoch = epoch

            def on_test_begin(self, logs: Any = None) -> None:
                if self._epoch >= first and not self.shown:
                    self.add(1 / (1 + self.updates))
                    self.exchange()

        return Mean()


def _values(model: Any) -> list[Any]:
    return [tf.convert_to_tensor(weight) for weight in model.weights]


@functools.cache
def _move() -> Any:
    """Return the step towards some values, as a graph: made once, on demand."""
    @tf.function
    def move(averages: list[Any], values: list[Any], share: Any) -> None:
        for average, value in zip(averages, values, strict=True):
            average.assign_add(tf.cast(share, average.dtype) * (value - average))

    return move
