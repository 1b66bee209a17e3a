"""Train: from a builder and the training split to a trained Keras model."""
from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from etils import epy

import models
from export.keras_models import file as keras_file
from pipelines.engine import journal
from pipelines.errors import StageError, UserError
from pipelines.features import scan
from pipelines.figures import figures
from pipelines.ingest.data import Data, set_seed
from pipelines.stages.context import Context
from pipelines.training import checkpoint, imported_model, loop, network, sharded
from pipelines.training.adapter import FILE, Adapter
from pipelines.training.distribution import Distribution
from pipelines.training.learners.distilled import check_shapes, distilled
from pipelines.training.learners.supervised import Objective
from pipelines.training.recomputation import recompute
from pipelines.training.sharded import Devices

with epy.lazy_imports():
    import keras
    import tensorflow as tf


def run(context: Context) -> str:
    recipe, data = context.recipe, context.data()
    if recipe.model.imported is not None:
        return imported_model.take_over(recipe.model.imported, data, context.work, context.journal)
    if recipe.train.strategy == "sharded":
        return _sharded(context, data)
    distribution = Distribution(recipe.train.strategy)
    set_seed(recipe.seed)
    if recipe.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    if recipe.data.batch % distribution.replicas:
        raise UserError(f"data.batch is {recipe.data.batch}, which does not divide among {distribution.replicas} "
                        "devices; "
                        f"give a multiple of {distribution.replicas}")
    keras.config.set_dtype_policy(recipe.train.precision)
    pretrained: list[str] = []
    adapter = recipe.train.adapter

    def start() -> keras.Model:
        fresh = _built(context, data)
        if recipe.train.checkpoint_activations:
            recompute(fresh)
        pretrained.extend(network.load_weights(fresh, recipe.model))
        network.adapt(fresh, adapter, pretrained)
        return fresh

    model = distribution.model(start, recipe.train.sync_batch_norm)
    _record(context, data, distribution, model, pretrained)
    frozen = adapter.frozen(model) if adapter is not None else ""
    training = loop.Training(
        settings=recipe.train, objective=_objective(context, data, model), watched=data.task.watch(data.index),
        monitored=data.task.watched,
        steps=data.steps, batches=lambda epoch: data.training(epoch, recipe.train.epochs), validation=data.validation(),
        folder=context.work, journal=context.journal, distribution=distribution, pretrained=pretrained,
        progress=_progress(context))
    loop.fit(model, training, data.task.learner(distribution.library))
    line = _draw(context, data, model)
    if adapter is not None:
        line += _adapted(context, adapter, model, frozen)
        weights = adapter.merged(model)
    else:
        weights = distribution.keras_model(model).get_weights()
    return "; ".join([line, *_ship(context, data, weights)])


def _adapted(context: Context, adapter: Adapter, model: keras.Model, before: str) -> str:
    """Write what was learnt beside the model; return what did learn, in a line.

    Args:
        before: the digest of what should have stayed as it was.

    Raises:
        StageError: it did not.
    """
    if (after := adapter.frozen(model)) != before:
        raise StageError(f"train: weights that the adapter leaves as they are have changed: {before[:12]} before the "
                         f"training, {after[:12]} after it")
    adapter.save(model, context.work / FILE)
    line = adapter.summary(model)
    context.journal.note(f"{line}; the others are bit for bit what they were, sha256 {after[:12]}")
    return f"; {line}"


def _sharded(context: Context, data: Data) -> str:
    """Train a model that is divided among devices; it does not go on from where it was interrupted."""
    recipe = context.recipe
    sharded.check(models.builder(recipe.model.builder).family)
    set_seed(recipe.seed)
    model = _built(context, data)
    pretrained = list(network.load_weights(model, recipe.model))
    rates = recipe.train.schedule.rates(data.steps * recipe.train.epochs)
    show = _progress(context)

    def epoch_done(epoch: int, metrics: dict[str, float]) -> None:
        context.journal.metrics(metrics, step=epoch)
        show(epoch + 1, (epoch + 1) / recipe.train.epochs, metrics)

    job = sharded.Job(recipe.written(), data, rates)
    weights, devices = sharded.fit(job, model.get_weights(), context.work, epoch_done)
    _record(context, data, devices, model, pretrained)
    context.journal.note(f"weights and optimizer took {devices.bytes:,} bytes, {devices.bytes_per_device:,} on each of "
                         f"{devices.replicas} devices")
    done = _ship(context, data, weights)
    return "; ".join([_draw(context, data, model), *done])


def _built(context: Context, data: Data) -> keras.Model:
    task, index = data.task, data.index
    model = network.build(context.recipe.model, task.dimensions(index), task.outputs(index), task.adopt,
                          scan.windows(index.learnt))
    return task.with_head(model, context.recipe.train.loss, index)


def _record(context: Context, data: Data, distribution: Distribution | Devices, model: Any,
            pretrained: list[str]) -> None:
    recipe, index = context.recipe, data.index
    if pretrained:
        weights = recipe.model.weights.entry_name  # type: ignore[union-attr]
        context.journal.note(f"{len(pretrained)} layers start from {weights} weights")
    context.journal.parameters({
        "builder": recipe.model.builder, "weights": model.count_params(), "trainable_weights": sum(
            math.prod(variable.shape) for variable in model.trainable_variables), "pretrained_layers": len(pretrained),
        "steps_per_epoch": data.steps, "strategy": distribution.kind, "replicas": distribution.replicas,
        **journal.flat(recipe.train.model_dump())})
    for part in ("train", "validation"):
        context.journal.dataset(f"{index.source}/{part}", index.digest, index.splits[part].examples, part)


def _objective(context: Context, data: Data, student: Any) -> Objective:
    """Return what is made small: the task's objective, on auxiliary heads too, and beside a teacher where there is
    one."""
    recipe = context.recipe
    task, index = data.task, data.index
    trained = functools.partial(task.trained_objective, recipe.train.loss, index,
                                recipe.model.settings.get("auxiliary", 0.0))
    distillation = recipe.train.distill
    if distillation is None:
        return trained()
    teacher, inputs = keras_file.load(context.inputs["teacher"]), list(index.inputs)
    objective = trained(
        lambda alone, outputs: distilled(alone, teacher, distillation, inputs, outputs, task.pairs))
    check_shapes(teacher, student, inputs, [output.name for output in task.paired(index)])
    return objective


def _progress(context: Context) -> Callable[[int, float, dict[str, float]], None]:
    epochs = context.recipe.train.epochs
    watched = {metric.name: metric.title for metric in context.recipe.task.watched}
    shown = {"loss": "loss", **watched, **{f"val_{name}": f"val {title}" for name, title in watched.items()}}

    def progress(epoch: int, done: float, metrics: dict[str, float]) -> None:
        values = "  ".join(f"{label} {float(metrics[name]):.3f}" for name, label in shown.items() if name in metrics)
        context.progress(done, f"epoch {epoch}/{epochs}  {values}")
        if "val_loss" in metrics:
            context.measured(epoch, {name: float(value) for name, value in metrics.items()})

    return progress


def _ship(context: Context, data: Data, weights: list[Any]) -> list[str]:
    """Write what ships of the trained model, in float32; return what the task did with it after the training."""
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    model = _built(context, data)
    model.set_weights(weights)
    for layer in model.layers:
        models.pretrained.finalize(layer)
    done = data.task.finish(model, data)
    for line in done:
        context.journal.note(line)
    learner: Any = data.task.learner(keras)
    shipped = learner.shipped(model, [tensor.name for tensor in data.task.outputs(data.index)])
    keras_file.save(shipped, context.work / imported_model.KERAS)
    return done


def _draw(context: Context, data: Data, model: Any) -> str:
    """Draw the curves and the schedule; return a line about the training."""
    settings = context.recipe.train
    series = journal.series(context.journal.path)
    figures.curves(series, [(metric.name, metric.title) for metric in data.task.watched], context.work / "curves.png")
    total = data.steps * settings.epochs
    figures.schedule(settings.schedule.rates(total), settings.schedule.momenta(total), data.steps,
                     context.work / "schedule.png")
    (context.work / checkpoint.NAME).unlink(missing_ok=True)
    epochs = len(series["loss"])
    monitored = context.recipe.monitored(None)
    values = series[monitored.name].values()
    best = max(values) if monitored.better == "higher" else min(values)
    return (f"{epochs} epochs, loss {series['loss'][epochs - 1]:.3f}, best {monitored.name.replace('_', ' ')} "
            f"{best:.3f}, "
            f"{model.count_params():,} weights")
