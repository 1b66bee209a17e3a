"""The learner of tasks with targets: a model whose loss is a function of its inputs, targets and named outputs."""
from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epy

import models

with epy.lazy_imports():
    import keras
    import tensorflow as tf

#: From inputs, targets and outputs, dicts of tensors by name, to the loss of each example, (batch,), or of all, ().
Objective = Callable[[Any, Any, Any], Any]
#: From targets and outputs to one value for each example, (batch,).
Watched = Mapping[str, Callable[[Any, Any], Any]]


def no_penalty() -> Any:
    """Return what the loss adds for the size of the weights: nothing."""
    return 0.0


@dataclasses.dataclass(frozen=True)
class _Preparation:
    """What a learner is prepared for, in an object that Keras does not search for variables."""

    objective: Objective
    watched: Watched
    penalty: Callable[[], Any]
    loss: Any
    means: dict[str, Any]


def supervised(library: Any) -> type:
    """Return the class of supervised learners, of keras or tf_keras.

    Example:
        >>> pixels = keras.Input((28, 28, 1), name="image")
        >>> logits = keras.layers.Dense(10)(keras.layers.Flatten()(pixels))
        >>> learner = supervised(keras)(inputs={"image": pixels}, outputs={"logits": logits})
        >>> objective = lambda inputs, targets, outputs: cross_entropy(targets["label"], outputs["logits"])
        >>> learner.prepare(objective, watched={}).compile("adam")
    """
    return _supervised(library.__name__)


@functools.cache
def _supervised(name: str) -> type:
    library: Any = importlib.import_module(name)

    class Supervised(library.Model):
        """A functional model with named inputs and outputs that is fitted on batches of (inputs, targets), two dicts.

        Its loss is the mean of an objective over the batch, and what its layers add for regularization. On several
        replicas each gives its share of it, so that their gradients add up to those of one device with the whole batch.
        """

        def prepare(self, objective: Objective, watched: Watched,
                    penalty: Callable[[], Any] = no_penalty) -> Supervised:
            """Say what it learns, before `compile`, under the strategy that it is trained with; return the learner.

            Args:
                objective: what is made small. What it needs beside its arguments, such as a teacher, it must hold in a
                    closure.
                watched: metrics by name, averaged over the examples of an epoch.
                penalty: added to the loss, for instance for the size of the kernels.
            """
            mean = library.metrics.Mean
            means = {name: mean(name=name) for name in watched}
            self._preparation = _Preparation(objective, watched, penalty, mean(name="loss"), means)
            return self

        @property
        def metrics(self) -> list[Any]:
            return [self._loss, *self._preparation.means.values()]

        @property
        def _loss(self) -> Any:
            """Return the mean of the loss: the one that Keras 3's train_step updates, or, in tf_keras, the
            learner's."""
            return getattr(self, "_loss_tracker", None) or self._preparation.loss

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
                         training: bool = True) -> Any:
            outputs = tf.nest.map_structure(_in_float32, y_pred)
            values = self._preparation.objective(x, y, outputs) + self._preparation.penalty()
            loss = _total([_mean(values), *(tf.reduce_sum(tf.cast(added, tf.float32)) for added in self.losses)])
            if self._loss is self._preparation.loss:
                self._loss.update_state(loss, sample_weight=tf.shape(tf.nest.flatten(x)[0])[0])
            return loss / tf.distribute.get_strategy().num_replicas_in_sync

        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
            outputs = tf.nest.map_structure(_in_float32, y_pred)
            for name, values in self._preparation.watched.items():
                self._preparation.means[name].update_state(values(y, outputs))
            return self.get_metrics_result()

        @staticmethod
        def shipped(model: keras.Model, outputs: Sequence[str]) -> keras.Model:
            """Return what ships of a trained model: by default the model cut to some of its outputs.

            The hook for learners whose models hold more than what ships, such as the discriminator of a GAN, or a head
            that only training uses.

            Args:
                model: as the builder makes it, with the trained weights.
                outputs: the names of the task's.
            """
            return models.cut(model, outputs)

    return Supervised


def learning(model: Any, library: Any, task_learner: type) -> Any:
    """Return a model as a learner. They share their layers, so that what the learner learns the model has learnt.

    Args:
        model: functional or Sequential, of either Keras. A bare output is called after its layer or operation.
        library: that the model is of: keras or tf_keras.
        task_learner: a subclass of the library's Model, such as `supervised(library)`.

    Raises:
        ValueError: two outputs have one name.
    """
    return task_learner(inputs=models.named_inputs(model), outputs=models.named_outputs(model), name=model.name)


def _in_float32(output: Any) -> Any:
    """Return an output of a model that computes in 16 bits with enough digits for a loss."""
    return tf.cast(output, tf.float32) if output.dtype.is_floating else output


def _mean(values: Any) -> Any:
    if len(values.shape) == 0:
        return values
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype))


def _total(terms: list[Any]) -> Any:
    return terms[0] if len(terms) == 1 else tf.reduce_sum(tf.stack(terms))
