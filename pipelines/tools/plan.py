"""`litepress plan`: what a training will take, before any of it is begun."""
from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import BaseModel

import models
from export.signature import Tensor
from models.activations import FLOAT32, activations, known
from models.census import multiply_adds
from pipelines.errors import UserError
from pipelines.ingest.data import Data
from pipelines.recipe.recipe import Recipe
from pipelines.tools.accelerators import Accelerator
from pipelines.tools.few_examples import few_examples
from pipelines.tools.short_training import data_of, prepare
from pipelines.training import step_memory
from pipelines.training.optimizers import Optimizer

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: A backward pass computes twice what a forward pass does (Kaplan et al., "Scaling Laws for Neural Language Models",
#: 2020, section 2.1).
BACKWARD = 2
#: Tokens for each parameter that a model of a given compute should see (Hoffmann et al., "Training Compute-Optimal
#: Large Language Models", 2022, table 3).
OPTIMAL = 20
#: Callbacks that keep a copy of the weights.
AVERAGES = ("ema", "swa")
#: Bytes of a number that is computed with in mixed precision.
HALF = 2


@dataclasses.dataclass(frozen=True)
class Options:
    """What is asked beside the recipe.

    Args:
        devices: that share a batch.
        tokens: of the training texts, in place of reading them; None where the data are read.
    """

    devices: int = 1
    tokens: int | None = None


class Memory(BaseModel):
    """Bytes on a device while a model learns.

    Args:
        weights: in float32, and in mixed precision a copy that is computed with; of train.strategy: sharded, the part
            that a device holds, as of gradients and optimizer.
        gradients, optimizer: of the weights that learn; averages of weights that callbacks keep are the optimizer's.
        activations: what the backward pass reads again.
        recomputed: the same with gradient checkpointing; None where that is not known.
        batch: of inputs and targets.
        largest: the largest other tensor at once.
        cache: keys and values of one text that is written, in float32; 0 where none is.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    recomputed: int | None = None
    batch: int
    largest: int
    cache: int = 0

    @property
    def state(self) -> int:
        """Return the bytes that do not grow with the batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def of_batch(self) -> int:
        """Return the bytes that grow with the batch."""
        return self.activations + self.batch + self.largest

    @property
    def total(self) -> int:
        return self.state + self.of_batch


class Plan(BaseModel):
    """What a recipe's training takes.

    Args:
        counted: how parameters and memory are known: by formulas, or by tracing a step of the model.
        note: what was not read, and what stands for it; empty where all was.
        tokens: of an example; 0 where it has none.
        forward: operations of one example, two for each multiplication and addition.
        trained: the same for a step of training.
        examples: that are seen in all epochs; None where the data are not read.
        divided: each device holds a part of the weights, and not all of them.
        per_device: examples of a step on one device.
        alternatives: what the memory would be with another setting.
        by_paper: bytes of activations of the same batch by Korthikanti's formula; None of other models.
    """

    recipe: str
    builder: str
    counted: str
    note: str = ""
    precision: str
    parameters: int
    tokens: int
    forward: int
    trained: int
    examples: int | None
    optimal_tokens: int | None
    devices: int
    divided: bool
    per_device: int
    memory: Memory
    alternatives: dict[str, Memory] = {}
    by_paper: int | None = None

    @property
    def seen(self) -> int | None:
        """Return the tokens that are seen, padding among them; None where that is not known, or there are none."""
        return self.examples * self.tokens if self.examples and self.tokens else None

    def hours(self, accelerator: Accelerator, utilization: float, examples: float) -> float:
        """Return the hours that so many examples take."""
        speed = accelerator.speed(self.precision) * utilization * self.devices
        return examples * self.trained / speed / 3600


def plan(written: dict[str, Any], options: Options) -> Plan:
    """Return what a recipe's training takes. Raises UserError where data or model are not as they must be."""
    recipe = Recipe.model_validate(written)
    if recipe.model.imported is not None:
        raise UserError("plan: model.builder: file is a model that is not trained any more; there is nothing to plan")
    per_device = -(-recipe.data.batch // options.devices)
    # what an adapter's weights are is seen once it is on the model
    closed = known(models.builder(recipe.model.builder)) and recipe.train.adapter is None
    if options.tokens is not None and not closed:
        what = recipe.model.builder if recipe.train.adapter is None else "a model with train.adapter"
        raise UserError(f"plan: {what} is not counted by a formula, so its data must be read; leave --tokens out")
    data, note = (None, "") if options.tokens is not None else _data(recipe, closed)
    if closed:
        return _by_formula(recipe, options, per_device, data, note)
    assert data is not None
    return _by_tracing(recipe, options, per_device, data, note)


def _data(recipe: Recipe, closed: bool) -> tuple[Data | None, str]:
    """Return the recipe's data, and what is not read of them."""
    source = recipe.data.source
    try:
        source.fingerprint()
    except UserError as error:
        if closed:
            return None, str(error)
        raise
    if source.ready():
        return data_of(recipe), ""
    return few_examples(recipe, 1), f"{source.entry_name} is not downloaded yet"


def _by_formula(recipe: Recipe, options: Options, per_device: int, data: Data | None, note: str) -> Plan:
    builder, settings = models.builder(recipe.model.builder), recipe.model.settings
    if data is None:
        dimensions = builder.at | _said(recipe)
        note = f"{note or 'the data are not read'}: {', '.join(f'{name} {one:,}' for name, one in dimensions.items())}"
    else:
        dimensions = recipe.task.dimensions(data.index)
    parts = builder.sized(dimensions, settings)
    tokens = dimensions["length"] + dimensions.get("target_length", 0)

    def memory(recipe: Recipe) -> Memory:
        kept = activations(builder, dimensions, settings, _width(recipe))
        assert kept is not None
        return Memory(
            **_state(recipe, parts.parameters, parts.parameters, options.devices), activations=per_device * kept.kept,
            recomputed=per_device * kept.recomputed, batch=per_device * (kept.targets + FLOAT32 * tokens),
            largest=per_device * kept.largest, cache=kept.cache)

    examples = _examples(recipe, data) if data is not None else (
        None if options.tokens is None else options.tokens // tokens * recipe.train.epochs)
    if recipe.train.checkpoint_activations:
        note = f"{note}{'; ' if note else ''}activations are counted as without train.checkpoint_activations"
    paper = activations(builder, dimensions, settings, HALF)
    return _plan(recipe, options, per_device, counted="formulas", note=note, parameters=parts.parameters, tokens=tokens,
                 operations=2 * parts.multiply_adds, examples=examples, memory=memory(recipe),
                 alternatives={title: memory(other) for title, other in _others(recipe)},
                 by_paper=None if paper is None else per_device * paper.by_paper)


def _others(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """Yield the recipe with other settings of its training that take less memory, and what they are."""
    changes: dict[str, Any] = {}
    titles = []
    for name, value, written in (("precision", "mixed_bfloat16", "mixed_bfloat16"),
                                 ("optimizer", Optimizer.read("adafactor"), "adafactor")):
        if getattr(recipe.train, name) != value:
            changes[name] = value
            titles.append(f"train.{name}: {written}")
            for some, title in (({name: value}, titles[-1]), (changes, " with ".join(titles))):
                yield title, recipe.model_copy(update={"train": recipe.train.model_copy(update=some)})


def _said(recipe: Recipe) -> dict[str, Any]:
    """Return the dimensions that the recipe itself says of texts: their length, and tokenizers' vocabularies."""
    result = {}
    for feature, prefix in (("tokens", ""), ("previous", "target_")):
        kind = recipe.task.features.get(feature)
        if kind is not None:
            settings: Any = recipe.data.feature(feature, kind)
            result[f"{prefix}length"] = settings.length
            vocabulary = getattr(settings.tokenizer, "most", getattr(settings.tokenizer, "size", None))
            result |= {} if vocabulary is None else {f"{prefix}vocabulary": vocabulary}
    return result


def _by_tracing(recipe: Recipe, options: Options, per_device: int, data: Data, note: str) -> Plan:
    keras.config.set_dtype_policy(recipe.train.precision)
    with tempfile.TemporaryDirectory(prefix="litepress-plan-") as folder:
        prepared = prepare(recipe, data, max(data.steps, 1), Path(folder))
    model, few = prepared.model, next(iter(data.training(0, 1)))
    batch = tf.nest.map_structure(lambda value: tf.TensorSpec((per_device, *value.shape[1:]), value.dtype), few)
    step = step_memory.traced(prepared.learner.train_step, batch)
    trainable = sum(tf.size(one).numpy() for one in model.trainable_variables)
    size = sum(spec.shape.num_elements() * spec.dtype.size for spec in tf.nest.flatten(batch))
    memory = Memory(**_state(recipe, model.count_params(), int(trainable), options.devices), activations=step.kept,
                    largest=step.largest, batch=size)
    operations = 2 * multiply_adds(model)
    return _plan(recipe, options, per_device, counted="tracing a step", note=note, parameters=model.count_params(),
                 tokens=_tokens(data.index.inputs), operations=operations,
                 examples=None if note else _examples(recipe, data), memory=memory)


def _plan(recipe: Recipe, options: Options, per_device: int, *, operations: int, parameters: int,
          **others: Any) -> Plan:
    optimal = OPTIMAL * parameters if recipe.task.entry_name == "language_model" else None
    return Plan(recipe=recipe.name, builder=recipe.model.builder, precision=recipe.train.precision,
                parameters=parameters, forward=operations, trained=(1 + BACKWARD) * operations, optimal_tokens=optimal,
                devices=options.devices, per_device=per_device, divided=recipe.train.strategy == "sharded", **others)


def _state(recipe: Recipe, parameters: int, trainable: int, devices: int) -> dict[str, int]:
    """Return the bytes of weights, gradients and optimizer on a device: of each a part where they are divided."""
    copies = sum(callback.entry_name in AVERAGES for callback in recipe.train.callbacks)
    of_optimizer = step_memory.state_per_weight(recipe.train.optimizer) * trainable
    whole = {"weights": parameters * (FLOAT32 + (HALF if _width(recipe) == HALF else 0)),
             "gradients": FLOAT32 * trainable, "optimizer": round(of_optimizer) + copies * FLOAT32 * parameters}
    parts = devices if recipe.train.strategy == "sharded" else 1
    return {name: -(-size // parts) for name, size in whole.items()}


def _width(recipe: Recipe) -> int:
    return FLOAT32 if recipe.train.precision == "float32" else HALF


def _examples(recipe: Recipe, data: Data) -> int:
    return recipe.train.epochs * data.steps * recipe.data.batch


def _tokens(inputs: Mapping[str, Tensor]) -> int:
    return sum(tensor.shape[0] or 0 for tensor in inputs.values() if tensor.role == "tokens")
