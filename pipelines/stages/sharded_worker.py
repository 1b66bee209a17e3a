"""The process in which a model that is divided among devices is trained, by Keras on JAX; see `training.sharded`, which
runs it as `python -m pipelines.stages.sharded_worker FOLDER`."""
from __future__ import annotations

import json
import math
import os
import pickle
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

import models
from pipelines.ingest.data import set_seed
from pipelines.recipe.recipe import Recipe
from pipelines.training.sharded import BEGIN, JOB, TRAINED, Job

with epy.lazy_imports():
    import jax
    import keras
    import numpy as np
    import tensorflow as tf

#: The mesh's axes: along the first lie the parts of a batch, and of one side of each weight; along the second those of
#: the other side.
BATCH, MODEL = "batch", "model"
#: The mean of the objective, as each example counts: it stands in the place of that of Keras, which counts what fills a
#: batch up.
LOSS = "loss"
#: Of each side of a weight, the axis that it is divided along.
Axes = tuple[str | None, ...]


def main(folder: Path) -> None:
    """Train the job in a folder, and leave the trained weights there."""
    job: Job = pickle.loads((folder / JOB).read_bytes())
    recipe = Recipe.model_validate(job.written)
    found = jax.devices()[:job.devices]
    columns = recipe.train.model_axis
    rows = len(found) // columns
    if reason := _misfit(len(found), columns, recipe.data.batch, job.devices):
        _tell("refused", reason=reason)
        return
    set_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.train.precision)
    build = _builder(recipe, job)
    mesh = keras.distribution.DeviceMesh((rows, columns), [BATCH, MODEL], [f"{one.platform}:{one.id}" for one in found])
    keras.distribution.set_distribution(keras.distribution.ModelParallel(
        layout_map=layouts(build, mesh), batch_dim_name=BATCH))
    model = build()
    with np.load(folder / BEGIN) as begin:
        model.set_weights([begin[name] for name in begin.files])
    learner = _learner(model, job, recipe)
    learner.optimizer.build(learner.trainable_variables)
    _tell("divided", devices=_divided(learner, len(found)))
    learner.fit(job.data.training(0, recipe.train.epochs), epochs=recipe.train.epochs, steps_per_epoch=job.data.steps,
                validation_data=_whole(job.data.validation(), rows), verbose=0, callbacks=[_reports(job.rates)])
    np.savez(folder / TRAINED, *model.get_weights())


def _misfit(devices: int, columns: int, batch: int, asked: int | None) -> str:
    """Return why devices cannot share a training; an empty text where they can."""
    if devices < 2 and asked is None:
        return ("train.strategy: sharded needs at least two devices that JAX sees, here is one. Use strategy: one, or "
                "set LITEPRESS_VIRTUAL_CPUS=4 to try it on this machine's processors")
    if devices % columns:
        return f"train.model_axis is {columns}, which does not divide {devices} devices; give a divisor"
    if batch % (devices // columns):
        return (f"data.batch is {batch}, which does not divide among {devices // columns} devices; give a multiple of "
                f"{devices // columns}")
    return ""


def _builder(recipe: Recipe, job: Job) -> Callable[[], Any]:
    dimensions = job.data.task.dimensions(job.data.index)

    def build() -> Any:
        return models.builder(recipe.model.builder).build(dimensions, recipe.model.settings)

    return build


def layouts(build: Callable[[], Any], mesh: Any) -> Any:
    """Return which axis of a mesh each side of each weight is divided along.

    Args:
        build: makes the model, here without values.
    """
    with keras.StatelessScope(initialize_variables=False):
        shapes = {variable.path: tuple(variable.shape) for variable in build().variables}
    keras.backend.clear_session()  # so that layers are called the same again; it would forget a distribution, too
    sizes = dict(zip(mesh.axis_names, mesh.shape, strict=True))
    result = keras.distribution.LayoutMap(mesh)
    for path, shape in shapes.items():
        result[path] = divided(shape, sizes)
    return result


def divided(shape: Sequence[int], sizes: Mapping[str, int]) -> Axes:
    """Return the axis that each side of a weight is divided along: its longest side that divides along that of the
    batch, and of the others the longest one that divides along that of the model.

    Args:
        sizes: devices along each axis.
    """
    axes: list[str | None] = [None] * len(shape)
    for name in (BATCH, MODEL):
        free = [side for side in range(len(shape)) if axes[side] is None and sizes[name] > 1
                and shape[side] % sizes[name] == 0]
        if free:
            axes[max(free, key=lambda side: shape[side])] = name
    return tuple(axes)


def _divided(learner: Any, devices: int) -> dict[str, int]:
    """Return the bytes of weights and the optimizer's state, in all and on the first device."""
    values = [variable.value for variable in [*learner.variables, *learner.optimizer.variables]]
    first = sum(value.addressable_shards[0].data.nbytes for value in values)
    return {"replicas": devices, "bytes": sum(value.nbytes for value in values), "bytes_per_device": first}


def _learner(model: Any, job: Job, recipe: Recipe) -> Any:
    task, index = job.data.task, job.data.index
    objective, watched = task.trained_objective(recipe.train.loss, index), task.watch(index)

    class Learner(keras.Model):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
                         training: bool = True) -> Any:
            return keras.ops.mean(objective(x, y, _in_float32(y_pred)))  # see LOSS for what is reported

        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
            answers = _in_float32(y_pred)
            self.means[LOSS].update_state(objective(x, y, answers), sample_weight)
            for name, values in watched.items():
                self.means[name].update_state(values(y, answers), sample_weight)
            return self.get_metrics_result()

    learner = Learner(inputs=models.named_inputs(model), outputs=models.named_outputs(model))
    learner.means = {name: keras.metrics.Mean(name=name) for name in (LOSS, *watched)}
    optimizer = recipe.train.optimizer.build(float(job.rates[0]))
    optimizer.learning_rate = _tabulated(job.rates)
    learner.compile(optimizer=optimizer)
    return learner


def _in_float32(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: keras.ops.cast(value, "float32") for name, value in outputs.items()}


def _tabulated(rates: Any) -> Any:
    """Return a schedule that looks the rate of a step up."""
    class Tabulated(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            last = len(rates) - 1
            return keras.ops.take(keras.ops.convert_to_tensor(rates), keras.ops.minimum(step, last))

        def get_config(self) -> dict[str, Any]:
            return {}

    return Tabulated()


def _whole(batches: Any, rows: int) -> Any:
    """Return batches filled up until their examples divide among devices, with what each example counts: what fills
    up, nothing."""
    def filled(*batch: Any) -> Any:
        count = tf.shape(tf.nest.flatten(batch)[0])[0]
        order = tf.range(count + -count % rows)
        examples = tf.nest.map_structure(lambda values: tf.gather(values, tf.minimum(order, count - 1)), batch)
        return (*examples, tf.cast(order < count, tf.float32))

    return batches.map(filled)


def _reports(rates: Any) -> Any:
    """Return the callback that tells how each epoch went."""
    class Reports(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            metrics = {name: float(value) for name, value in (logs or {}).items()}
            if not math.isfinite(metrics["loss"]):
                _tell("refused", reason=f"train: the loss is {metrics['loss']} after epoch {epoch + 1}. Try a lower "
                                        "peak in train.schedule, or clip_norm: 1 in train.optimizer")
                os._exit(0)
            step = min(int(self.model.optimizer.iterations.value), len(rates) - 1)
            _tell("epoch", epoch=epoch, metrics={**metrics, "learning_rate": float(rates[step])})

    return Reports()


def _tell(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def _end_with_parent() -> None:
    """End this process once its parent is gone, which closes its end of the standard input."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(Path(sys.argv[1]))
