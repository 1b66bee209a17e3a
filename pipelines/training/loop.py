"""The training loop: Keras' fit, watched."""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from pipelines.engine.journal import Journal
from pipelines.errors import UserError
from pipelines.training import checkpoint
from pipelines.training.callbacks import TrainingContext
from pipelines.training.distillation import Distillation
from pipelines.training.distribution import Distribution
from pipelines.training.losses import on_heads, taught
from pipelines.training.section import TrainSection
from pipelines.training.transfer import Phase

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: Called with (epoch from 1, share of all steps done, the epoch's metrics so far).
Progress = Callable[[int, float, dict[str, float]], None]


def compile_for(model: keras.Model, settings: TrainSection, *, steps: int, class_counts: Sequence[int], auxiliary: float,
                library: Any = None, first_step: int = 0, shares: Sequence[float] | None = None, lesson: Distillation | None = None) -> None:
    """Compiles a model with a recipe's loss, optimizer and schedule; `accuracy` is of the main head where it has several.

    Args:
        model: from pictures to logits (batch, classes), or (batch, heads, classes) with auxiliary heads.
        steps: of the whole training.
        class_counts: training examples of each class.
        auxiliary: weight of each auxiliary head's loss.
        library: that of the model: keras, which is the default, or tf_keras.
        first_step: of the whole training, at which this model goes on.
        shares: of the learning rate, for each trainable variable; the whole for all by default.
        lesson: how much a teacher says, whose logits follow the one-hot targets; nothing by default.

    Raises:
        UserError: a setting does not fit the classes.
    """
    library = library or keras
    loss, metrics, classes = settings.loss.build(class_counts), library.metrics, len(class_counts)
    if lesson is not None:
        loss = taught(loss, classes, lesson.temperature, lesson.weight)
    accuracy = metrics.CategoricalAccuracy(name="accuracy")
    heads = len(model.output.shape) == 3
    if heads:
        loss = on_heads(loss, auxiliary)
    if heads or lesson is not None:
        accuracy = metrics.MeanMetricWrapper(lambda targets, logits: metrics.categorical_accuracy(
            targets[:, :classes], logits[:, 0] if heads else logits), name="accuracy")
    schedule = settings.schedule
    rates = schedule.rates(steps)[first_step:] if schedule.changes else float(schedule.rates(1)[0])
    momenta = schedule.momenta(steps)
    penalty = _penalty(model, settings.l1, settings.l2)
    # the loss as a function: what a Loss object gives per example, Keras would not average
    model.compile(optimizer=settings.optimizer.build(rates, library, None if momenta is None else momenta[first_step:], shares),
                  loss=lambda targets, logits: loss(targets, logits) + penalty(), metrics=[accuracy],
                  jit_compile=settings.compile)


def _penalty(model: Any, l1: float, l2: float) -> Callable[[], Any]:
    """What the loss adds for the sizes of the model's trainable kernels."""
    kernels = [variable for variable in model.trainable_variables if "kernel" in variable.name] if l1 or l2 else []

    def penalty() -> Any:
        values = [tf.cast(tf.convert_to_tensor(kernel), tf.float32) for kernel in kernels]
        return sum((l1 * tf.reduce_sum(tf.abs(value)) + l2 * tf.reduce_sum(value * value) for value in values), 0.0)

    return penalty


def fit(model: Any, settings: TrainSection, *, batches: Callable[[int], tf.data.Dataset], steps: int,
        validation: tf.data.Dataset, class_counts: Sequence[int], folder: Path, journal: Journal, progress: Progress,
        auxiliary: float = 0.0, distribution: Distribution | None = None, pretrained: Sequence[str] = (), lesson: Distillation | None = None,
        others: Sequence[Any] = ()) -> None:
    """Trains a model, going on from the checkpoint in `folder` if there is one.

    Args:
        model: as for `compile_for`, fresh. Afterwards it has the last weights, or the best where early stopping keeps them.
        batches: gives the training batches from an epoch (counted from 0) to the last.
        steps: batches per epoch.
        validation: batches for the metrics after each epoch.
        class_counts: training examples of each class.
        folder: for checkpoints.
        journal: receives the metrics of each epoch, the learning rate included.
        progress: told every now and then how far it is.
        auxiliary: weight of each auxiliary head's loss.
        distribution: over which devices; one by default. The model must have been made with it.
        pretrained: the layers that settings.transfer is about.
        lesson: how much a teacher says, whose logits follow the one-hot targets of all batches.
        others: callbacks beside those of the settings, of the library that trains.

    Raises:
        UserError: the loss is no longer a number, or a setting does not fit the classes.
        StageError: another worker is gone.
    """
    where = distribution or Distribution("one")
    around = TrainingContext(where.library, settings.epochs, folder,
                          lambda epoch, place: next(batches(epoch).skip(place).take(1).as_numpy_iterator()))
    asked = [*(entry.build(around) for entry in settings.callbacks), *others]
    phases = settings.transfer.phases(settings.epochs) if settings.transfer else [Phase(0, settings.epochs, 1.0)]
    with where.watched(lambda: checkpoint.progress(folder)[0]):
        where.share_file(folder / checkpoint.NAME)
        if done := checkpoint.progress(folder)[0]:
            journal.note(f"going on after epoch {done}")
        for number, phase in enumerate(phases):
            done, stopped = checkpoint.progress(folder)
            if done >= phase.last and phase is not phases[-1]:
                continue
            with where.scope():
                shares = _settle(model, settings, phase, pretrained)
                compile_for(model, settings, steps=steps * settings.epochs, class_counts=class_counts, auxiliary=auxiliary,
                            library=where.library, first_step=steps * phase.first, shares=shares, lesson=lesson)
            watcher = _watcher(where.library, asked, settings, folder, journal, progress, steps, (number, phase.last))
            model.fit(where.distributed(batches(done)), initial_epoch=done, epochs=done if stopped else phase.last,
                      steps_per_epoch=steps, validation_data=where.distributed(validation, whole=True), callbacks=[*asked, watcher],
                      verbose=0, **({"validation_steps": len(validation)} if where.library.__name__ != "keras" else {}))
            if checkpoint.progress(folder)[1]:
                break


def _settle(model: Any, settings: TrainSection, phase: Phase, pretrained: Sequence[str]) -> list[float] | None:
    """Freezes what does not learn in a phase; the rates of what does, as shares, where they differ."""
    if settings.transfer is not None:
        settings.transfer.freeze(model, pretrained, phase.unfrozen)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            if settings.batch_norm_momentum is not None:
                layer.momentum = settings.batch_norm_momentum
            if settings.freeze_batch_norm:
                layer.trainable = False
    return settings.transfer.shares(model, pretrained) if settings.transfer is not None else None


def _watcher(library: Any, others: Sequence[Any], settings: TrainSection, folder: Path, journal: Journal, progress: Progress,
             steps: int, phase: tuple[int, int]) -> Any:
    """The callback that checkpoints, writes the journal and reports; the last of all, so that it sees what the others did.

    Args:
        phase: its number, and the epoch at which it ends.
    """

    class Watcher(library.callbacks.Callback):
        def on_train_begin(self, logs=None):
            checkpoint.restore(folder, self.model, others, phase[0])

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch, self.told = epoch, 0.0

        def on_train_batch_end(self, batch, logs=None):
            if time.monotonic() - self.told > 0.25:
                self.told = time.monotonic()
                progress(self.epoch + 1, (self.epoch + (batch + 1) / steps) / settings.epochs, logs or {})

        def on_epoch_end(self, epoch, logs=None):
            rate = self.model.optimizer.learning_rate
            rate = float(rate.numpy() if isinstance(rate, tf.Variable) else rate)
            journal.metrics({**(logs or {}), "learning_rate": rate}, step=epoch)
            progress(epoch + 1, (epoch + 1) / settings.epochs, logs or {})
            if not math.isfinite((logs or {}).get("loss", 0.0)):
                raise UserError(f"train: the loss is {logs['loss']} after epoch {epoch + 1}. Try a lower peak in train.schedule, or "
                                "clip_norm: 1 in train.optimizer; callbacks: [terminate_on_nan] finds the batch")
            last = epoch + 1 == phase[1] or self.model.stop_training
            if last or (epoch + 1) % settings.checkpoint_every == 0:
                checkpoint.save(folder, self.model, others, epoch + 1, phase[0])

    return Watcher()
