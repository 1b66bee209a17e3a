"""A small training, for tests of everything that goes into one."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engine.journal import Journal
from pipelines.tasks.task import Metric
from pipelines.training import loop
from pipelines.training.losses import Loss
from pipelines.training.section import TrainSection

ACCURACY = Metric(name="accuracy")


def batches(inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], *, batch: int, epochs: int,
            noise: float = 0.0) -> Callable[[int], Any]:
    """Return what gives shuffled batches from an epoch to the last; order and noise depend on the epoch alone."""
    import tensorflow as tf

    examples = len(next(iter(inputs.values())))

    def one_epoch(epoch):
        seed = tf.stack([tf.cast(epoch, tf.int32), 1])
        order = tf.random.experimental.stateless_shuffle(tf.range(examples), seed)
        shuffled = tf.nest.map_structure(lambda values: tf.gather(values, order), (dict(inputs), dict(targets)))
        whole = tf.data.Dataset.from_tensor_slices(shuffled).batch(batch, drop_remainder=True).enumerate()
        return whole.map(lambda position, example: disturbed(epoch, position, *example))

    def disturbed(epoch, position, values, answers):
        seed = tf.cast(tf.stack([epoch, position]), tf.int32)
        noisy = {name: value + noise * tf.random.stateless_normal(tf.shape(value), seed)
                 for name, value in values.items()}
        return noisy, answers

    return lambda epoch: tf.data.Dataset.range(epoch, epochs).flat_map(one_epoch)


def classification(loss: Any = "cross_entropy", counts: list[int] | None = None) -> dict[str, Any]:
    """Return the objective of logits against one-hot labels, and the accuracy, as a training takes them."""
    import tensorflow as tf

    compare = Loss.read(loss).build(counts or [], "logits")
    return {
        "objective": lambda inputs, targets, outputs: compare(targets["label"], outputs["logits"]),
        "watched": {"accuracy": lambda targets, outputs: tf.cast(
            tf.argmax(targets["label"], -1) == tf.argmax(outputs["logits"], -1), tf.float32)},
        "monitored": (ACCURACY,)}


def training(folder: Path, settings: TrainSection, inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray],
             *, batch: int, noise: float = 0.0, **changed: Any) -> loop.Training:
    """Return a training of one-hot labels on the same examples as it is validated on."""
    import tensorflow as tf

    learnt = {} if "objective" in changed else classification(settings.loss)
    plan = {
        "settings": settings, **learnt, "steps": len(targets["label"]) // batch,
        "batches": batches(inputs, targets, batch=batch, epochs=settings.epochs, noise=noise),
        "validation": tf.data.Dataset.from_tensor_slices((dict(inputs), dict(targets))).batch(2 * batch),
        "folder": folder, "journal": Journal(folder / "journal.jsonl"), "progress": lambda epoch, done, metrics: None}
    return loop.Training(**{**plan, **changed})
