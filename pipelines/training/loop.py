"""The training loop: Keras' fit, watched."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from pipelines.engine.journal import Journal
from pipelines.training import checkpoint
from pipelines.training.callbacks import Metric, TrainingContext
from pipelines.training.distribution import Distribution
from pipelines.training.learners.supervised import Objective, Watched, learning, supervised
from pipelines.training.section import TrainSection
from pipelines.training.transfer import Phase
from pipelines.training.watcher import watcher

with epy.lazy_imports():
    import tensorflow as tf

#: Called with (epoch from 1, share of all steps done, the epoch's metrics so far).
Progress = Callable[[int, float, dict[str, float]], None]


@dataclasses.dataclass
class Training:
    """What a training is.

    Args:
        settings: the recipe's.
        objective: what is made small.
        watched: metrics beside the loss, by name.
        monitored: what callbacks must know of these; the first is what they look at.
        steps: batches per epoch.
        batches: gives the training batches, (inputs, targets) by name, from an epoch (counted from 0) to the last.
        validation: batches for the metrics after each epoch.
        folder: for checkpoints.
        journal: receives the metrics of each epoch, the learning rate included.
        progress: told every now and then how far it is.
        distribution: over which devices; one by default. The model must have been made with it.
        pretrained: the layers that settings.transfer is about.
        callbacks: beside those of the settings, of the library that trains.
    """

    settings: TrainSection
    objective: Objective
    watched: Watched
    monitored: Sequence[Metric]
    steps: int
    batches: Callable[[int], tf.data.Dataset]
    validation: tf.data.Dataset
    folder: Path
    journal: Journal
    progress: Progress
    distribution: Distribution = dataclasses.field(default_factory=lambda: Distribution("one"))
    pretrained: Sequence[str] = ()
    callbacks: Sequence[Any] = ()

    def batch_at(self, epoch: int, position: int) -> tuple[Any, Any]:
        """Return the training batch of an epoch at a position in it, both counted from 0: inputs and targets by name,
        NumPy arrays."""
        return next(self.batches(epoch).skip(position).take(1).as_numpy_iterator())

    @property
    def context(self) -> TrainingContext:
        """Return what callbacks are told."""
        return TrainingContext(
            self.distribution.library, self.settings.epochs, self.folder, self.batch_at, self.monitored)

    @property
    def phases(self) -> list[Phase]:
        """Return the phases in which other layers learn each; one where all learn throughout."""
        settings = self.settings
        return settings.transfer.phases(settings.epochs) if settings.transfer else [Phase(0, 0, settings.epochs, 1.0)]


def compile_for(learner: Any, training: Training, *, first_step: int = 0,
                shares: Sequence[float] | None = None) -> None:
    """Prepare and compile a learner for a training's objective, optimizer and schedule.

    Args:
        learner: see `learners.supervised`, made under the training's strategy.
        first_step: of the whole training, at which this learner goes on.
        shares: of the learning rate, for each trainable variable; the whole for all by default.

    Raises:
        UserError: the optimizer does not go with the library, or not with shares.
    """
    settings = training.settings
    steps = training.steps * settings.epochs
    schedule = settings.schedule
    rates = schedule.rates(steps)[first_step:] if schedule.changes else float(schedule.rates(1)[0])
    momenta = schedule.momenta(steps)
    if momenta is not None:
        momenta = momenta[first_step:]
    learner.prepare(training.objective, training.watched, penalty(learner, settings.l1, settings.l2))
    optimizer = settings.optimizer.build(rates, training.distribution.library, momenta, shares)
    learner.compile(optimizer=optimizer, jit_compile=settings.compile)


def penalty(model: Any, l1: float, l2: float) -> Callable[[], Any]:
    """Return a function to what the loss adds for the trainable kernels k: l1 sum(|k|) + l2 sum(k^2)."""
    kernels = [variable for variable in model.trainable_variables if "kernel" in variable.name] if l1 or l2 else []

    def added() -> Any:
        values = [tf.cast(tf.convert_to_tensor(kernel), tf.float32) for kernel in kernels]
        return sum((l1 * tf.reduce_sum(tf.abs(value)) + l2 * tf.reduce_sum(value * value) for value in values), 0.0)

    return added


def fit(model: Any, training: Training, learner: type | None = None) -> Any:
    """Train a model, going on from the checkpoint in the training's folder if there is one.

    Args:
        model: fresh, of the library that trains. Afterwards it has the last weights, or the best where early stopping
            keeps them.
        learner: the class of what is fitted; `supervised` where not given.

    Returns:
        The learner, which shares the model's layers.

    Raises:
        UserError: the loss is no longer a number, or a setting does not fit the model.
        StageError: another worker is gone.
    """
    distribution = training.distribution
    folder = training.folder
    with distribution.scope():
        fitted = learning(model, distribution.library, learner or supervised(distribution.library))
    callbacks = [*(entry.build(training.context) for entry in training.settings.callbacks), *training.callbacks]
    with distribution.watched(lambda: checkpoint.progress(folder)[0]):
        distribution.share_file(folder / checkpoint.NAME)
        if done := checkpoint.progress(folder)[0]:
            training.journal.note(f"going on after epoch {done}")
        for phase in training.phases:
            if checkpoint.progress(folder)[0] >= phase.last and phase is not training.phases[-1]:
                continue
            _fit_phase(fitted, training, phase, callbacks)
            if checkpoint.progress(folder)[1]:
                break
    return fitted


def _fit_phase(learner: Any, training: Training, phase: Phase, callbacks: Sequence[Any]) -> None:
    """Train up to a phase's last epoch; where the training had stopped, only bring back what its checkpoint holds."""
    distribution = training.distribution
    done, stopped = checkpoint.progress(training.folder)
    with distribution.scope():
        shares = _settle(learner, training, phase)
        compile_for(learner, training, first_step=training.steps * phase.first, shares=shares)
    validation = distribution.distributed(training.validation, whole=True)
    # tf_keras cannot tell how long a distributed dataset is
    lengths = {} if distribution.library.__name__ == "keras" else {"validation_steps": len(training.validation)}
    learner.fit(
        distribution.distributed(training.batches(done)), initial_epoch=done, epochs=done if stopped else phase.last,
        steps_per_epoch=training.steps, validation_data=validation, verbose=0, **lengths,
        callbacks=[*callbacks, watcher(distribution.library, training, callbacks, phase)])


def _settle(learner: Any, training: Training, phase: Phase) -> list[float] | None:
    """Freeze what does not learn in a phase; return the rates of what does, as shares, where they differ."""
    settings = training.settings
    if settings.transfer is not None:
        settings.transfer.freeze(learner, training.pretrained, phase.unfrozen)
    for layer in learner.layers:
        if type(layer).__name__ == "BatchNormalization":
            if settings.batch_norm_momentum is not None:
                layer.momentum = settings.batch_norm_momentum
            if settings.freeze_batch_norm:
                layer.trainable = False
    return settings.transfer.shares(learner, training.pretrained) if settings.transfer is not None else None
