"""The learner of tasks whose examples are drawn anew each time they are learnt from."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etils import epy

from pipelines.training.learners.supervised import supervised

with epy.lazy_imports():
    import tensorflow as tf

#: From inputs and targets, dicts of tensors by name, and the step of the training, int32 (), to those that are learnt.
Redraw = Callable[[Any, Any, Any], tuple[Any, Any]]


def redrawn(library: Any, redraw: Redraw) -> type:
    """Return the class of learners of keras or tf_keras that see each training batch as it is drawn at its step;
    validation examples stay as they are."""
    base: Any = supervised(library)

    class Redrawn(base):
        """A supervised learner whose training batches are drawn anew."""

        def train_step(self, data: Any) -> Any:
            inputs, targets = data[:2]  # of a single batch Keras has weights of examples too
            return super().train_step(redraw(inputs, targets, tf.cast(self.optimizer.iterations, tf.int32)))

    return Redrawn
