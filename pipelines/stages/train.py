"""Train: from a builder and the training split to a trained Keras model."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etils import epy

import models
from export.keras_models import file as keras_file
from pipelines.engine import journal
from pipelines.errors import UserError
from pipelines.figures import figures
from pipelines.ingest import stream
from pipelines.stages.context import Context
from pipelines.training import checkpoint, imported_model, loop, network
from pipelines.training.distillation import with_answers
from pipelines.training.distribution import Distribution

with epy.lazy_imports():
    import keras
    import tensorflow as tf

MODEL = imported_model.KERAS


def run(context: Context) -> str:
    recipe, index = context.recipe, context.index()
    if recipe.model.given is not None:
        return imported_model.take_over(recipe.model.given, context)
    distribution = Distribution(recipe.train.strategy)
    stream.set_seed(recipe.seed)
    if recipe.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    steps = index.splits["train"].examples // recipe.data.batch
    if recipe.data.batch % distribution.replicas:
        raise UserError(f"data.batch is {recipe.data.batch}, which does not divide among {distribution.replicas} devices; "
                        f"give a multiple of {distribution.replicas}")
    keras.config.set_dtype_policy(recipe.train.precision)
    pretrained: list[str] = []

    def start() -> keras.Model:
        fresh = network.build(recipe.model, index.shape, len(index.classes))
        pretrained.extend(network.load_weights(fresh, recipe.model))
        return fresh

    model = distribution.model(start, recipe.train.sync_batch_norm)
    if pretrained:
        context.journal.note(f"{len(pretrained)} layers start from {recipe.model.weights.entry_name} weights")  # type: ignore[union-attr]
    training = stream.examples(recipe.data.source, index, recipe.data.image, "train")
    validation = stream.examples(recipe.data.source, index, recipe.data.image, "validation")
    context.journal.parameters({
        "builder": recipe.model.builder, "weights": model.count_params(), "pretrained_layers": len(pretrained), "steps_per_epoch": steps,
        "strategy": distribution.kind, "replicas": distribution.replicas, **_flat(recipe.train.model_dump())})
    taught = _lessons(context, model)
    for part in ("train", "validation"):
        context.journal.dataset(f"{index.source}/{part}", index.digest, index.splits[part].examples, part)
    loop.fit(
        model, recipe.train, steps=steps, class_counts=index.splits["train"].class_counts,
        auxiliary=recipe.model.auxiliary, folder=context.work, journal=context.journal,
        batches=lambda epoch: taught(stream.training_batches(
            training, classes=len(index.classes), batch=recipe.data.batch, augmentations=recipe.data.augment, seed=recipe.seed,
            first_epoch=epoch, epochs=recipe.train.epochs)),
        validation=taught(stream.evaluation_batches(validation, classes=len(index.classes), batch=256)),
        distribution=distribution, pretrained=pretrained, lesson=recipe.train.distill,
        progress=lambda epoch, done, metrics: _tell(context, epoch, done, metrics))
    trained = distribution.keras_model(model).get_weights()
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    shipped = network.build(recipe.model, index.shape, len(index.classes))
    shipped.set_weights(trained)
    for layer in shipped.layers:
        models.pretrained.finalize(layer)
    keras_file.save(models.main_output(shipped), context.work / MODEL)
    series = journal.series(context.journal.path)
    figures.curves(series, context.work / "curves.png")
    total = steps * recipe.train.epochs
    figures.schedule(recipe.train.schedule.rates(total), recipe.train.schedule.momenta(total), steps, context.work / "schedule.png")
    (context.work / checkpoint.NAME).unlink(missing_ok=True)
    epochs = len(series["loss"])
    best = max(series["val_accuracy"].values())
    return f"{epochs} epochs, loss {series['loss'][epochs - 1]:.3f}, best val accuracy {best:.3f}, {model.count_params():,} weights"


def _lessons(context: Context, student: Any) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """What gives batches the teacher's answers, where there is a teacher."""
    if context.recipe.train.distill is None:
        return lambda batches: batches
    teacher = keras_file.load(context.inputs["teacher"])
    if teacher.input_shape != student.input_shape or teacher.output_shape[-1] != student.output_shape[-1]:
        raise UserError(f"train.distill.teacher: it is a model from {teacher.input_shape[1:]} to {teacher.output_shape[-1]} classes, the "
                        f"student from {student.input_shape[1:]} to {student.output_shape[-1]}; they must be the same")
    return lambda batches: with_answers(batches, teacher)


def _tell(context: Context, epoch: int, done: float, metrics: dict[str, float]) -> None:
    context.progress(done, f"epoch {epoch}/{context.recipe.train.epochs}  {_told(metrics)}")
    if "val_loss" in metrics:
        context.measured(epoch, {name: float(value) for name, value in metrics.items()})


def _told(metrics: dict[str, float]) -> str:
    shown = {"loss": "loss", "accuracy": "accuracy", "val_accuracy": "val accuracy"}
    return "  ".join(f"{label} {float(metrics[name]):.3f}" for name, label in shown.items() if name in metrics)


def _flat(values: dict, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat
