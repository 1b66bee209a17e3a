"""Keras models, from their .keras files."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from etils import epy

from export.keras_models import file as keras_file
from export.keras_models import graph
from export.predictors.predictor import BatchPredictor
from export.signature import DEFAULT, Signature

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf


class KerasPredictor(BatchPredictor):
    """A Keras model, in inference.

    Args:
        path: the .keras file.
        batch: examples at a time.

    Raises:
        ValueError: the file cannot be read.
    """

    def __init__(self, path: Path, batch: int = 256):
        self.model = keras_file.load(path)
        self.batch = batch
        function = graph.function(self.model, graph.signature_of(self.model))
        self.signatures = {DEFAULT: function.signature}
        self._function = tf.function(function.call, reduce_retracing=True)

    def _call(self, signature: Signature, batch: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return self._prepared(signature, batch)()

    def _prepared(self, signature: Signature, batch: dict[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        tensors = {name: tf.constant(value) for name, value in batch.items()}
        return lambda: {name: value.numpy() for name, value in self._function(**tensors).items()}
