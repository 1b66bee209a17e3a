"""The learner of tasks whose examples are pairs that one model sees one by one."""
from __future__ import annotations

from typing import Any

from etils import epy

from pipelines.training.learners.supervised import supervised

with epy.lazy_imports():
    import tensorflow as tf


def side_by_side(library: Any, first: str, second: str) -> type:
    """Return the class of learners of keras or tf_keras whose model sees the first and the second of all pairs as one
    batch: its outputs are those of all first ones, and behind them those of all second ones.

    Args:
        first: the name of the model's input, which the first ones have in the data too.
        second: the name of the second ones in the data.
    """
    base: Any = supervised(library)

    class SideBySide(base):
        """A supervised learner whose batches have twice as many examples as pairs."""

        def train_step(self, data: Any) -> Any:
            return super().train_step(_together(data))

        def test_step(self, data: Any) -> Any:
            return super().test_step(_together(data))

    def _together(data: Any) -> tuple[Any, Any]:
        inputs, targets = data[:2]  # of a single batch Keras has weights of examples too
        return {first: tf.concat([inputs[first], inputs[second]], axis=0)}, targets

    return SideBySide
