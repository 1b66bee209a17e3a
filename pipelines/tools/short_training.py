"""A recipe's model, ready to be trained for some steps on this machine: for `check`, `find-rate` and
`benchmark-input`."""
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from pipelines.engine.journal import NAME, Journal
from pipelines.features import scan
from pipelines.ingest.data import Data, set_seed
from pipelines.ingest.indexing import build_index, check_batch
from pipelines.recipe.recipe import Recipe
from pipelines.training import loop, network
from pipelines.training.learners.supervised import learning

with epy.lazy_imports():
    import keras as keras_library

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model before its training.

    Args:
        model: with fresh or pretrained weights.
        learner: what is trained, compiled; it shares the model's layers.
        pretrained: names of the layers that have pretrained weights.
    """

    model: keras.Model
    learner: Any
    pretrained: list[str]


def data_of(recipe: Recipe) -> Data:
    """Return all of a recipe's examples, indexed. Raises UserError where there is not even one batch of them."""
    recipe.data.source.prepare()
    index = build_index(recipe.data, recipe.task, recipe.seed)
    check_batch(recipe.data.batch, index.splits["train"].examples)
    return Data(recipe.data, recipe.task, index, recipe.seed)


def prepare(recipe: Recipe, data: Data, steps: int, folder: Path) -> Prepared:
    """Return a recipe's model, compiled as its training would, without a teacher and callbacks.

    Args:
        recipe: its schedule runs over its epochs.
        steps: of an epoch.
        folder: where a training would keep its checkpoints; nothing is written.

    Raises:
        UserError: the model cannot be built, or a setting does not fit the data.
    """
    task, index, settings = data.task, data.index, recipe.train
    set_seed(recipe.seed)
    model = _built(recipe, data)
    pretrained = list(network.load_weights(model, recipe.model))
    network.adapt(model, settings.adapter, pretrained)
    if settings.transfer is not None:
        settings.transfer.freeze(model, pretrained, 1.0)
    objective = task.trained_objective(settings.loss, index, recipe.model.settings.get("auxiliary", 0.0))
    training = loop.Training(
        settings=settings, objective=objective, watched=task.watch(index), monitored=task.watched, steps=steps,
        batches=lambda epoch: data.training(epoch, settings.epochs), validation=data.validation(), folder=folder,
        journal=Journal(folder / NAME), progress=lambda epoch, done, metrics: None)
    learner = learning(model, keras_library, task.learner(keras_library))
    loop.compile_for(learner, training)
    return Prepared(model, learner, pretrained)


def merged(recipe: Recipe, data: Data, model: keras.Model) -> keras.Model:
    """Return a model as it ships: without the recipe's adapter, if there is one, which its weights take in."""
    if recipe.train.adapter is None:
        return model
    plain = _built(recipe, data)
    plain.set_weights(recipe.train.adapter.merged(model))
    return plain


def _built(recipe: Recipe, data: Data) -> keras.Model:
    task, index = data.task, data.index
    model = network.build(recipe.model, task.dimensions(index), task.outputs(index), task.adopt,
                          scan.windows(index.learnt))
    return task.with_head(model, recipe.train.loss, index)
