"""What stands beside a model that learnt to answer: the model that it began as, and the most frequent answer."""
from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etils import epy

import models
from export.keras_models import graph
from export.predictors import BatchPredictor
from export.signature import DEFAULT, Signature
from pipelines.ingest.index import Part
from pipelines.training.model_section import ModelSection

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from pipelines.ingest.data import Data

BASE, MOST_FREQUENT = "base", "most_frequent"
NAMES = (BASE, MOST_FREQUENT)


class InMemory(BatchPredictor):
    """A Keras model that is in no file.

    Args:
        batch: examples at a time.
    """

    def __init__(self, model: keras.Model, batch: int = 64):
        function = graph.function(model, graph.signature_of(model))
        self.batch, self.signatures = batch, {DEFAULT: function.signature}
        self._function = tf.function(function.call, reduce_retracing=True)

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        tensors = {name: tf.constant(value) for name, value in batch.items()}
        return {name: value.numpy() for name, value in self._function(**tensors).items()}


def base(section: ModelSection, dimensions: Mapping[str, Any]) -> InMemory | None:
    """Return the model that a training started from; None where it started from nothing. Raises ValueError."""
    if section.weights is None:
        return None
    model = models.builder(section.builder).build(dimensions, section.settings)
    section.weights.load(model, section.builder, section.settings)
    return InMemory(model)


def most_frequent(data: Data, target: str) -> float:
    """Return the share of test answers that are the most frequent one of training, word for word.

    Args:
        target: of the answers' tokens.
    """
    counts = _counted(data, target, "train")
    tested = _counted(data, target, "test")
    return tested[counts.most_common(1)[0][0]] / sum(tested.values())


def _counted(data: Data, target: str, part: Part) -> collections.Counter[tuple[int, ...]]:
    counts: collections.Counter[tuple[int, ...]] = collections.Counter()
    for _, targets in data.batches(part):
        counts.update(tuple(row[row != 0].tolist()) for row in targets[target])
    return counts
