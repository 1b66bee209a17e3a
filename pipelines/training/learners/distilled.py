"""Knowledge distillation: a student learns from a teacher's answers as well as from the truth (Hinton et al. 2015)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epy

import models
from pipelines.errors import UserError
from pipelines.training.distillation import Distillation
from pipelines.training.learners.supervised import Objective

with epy.lazy_imports():
    import keras
    import tensorflow as tf


def distilled(objective: Objective, teacher: keras.Model, distillation: Distillation,
              pairs: Mapping[str, str]) -> Objective:
    """Return a loss on the truth and on a teacher's answers, of each example:

        (1 - weight) objective + weight temperature^2 KL(softmax(teacher / temperature), softmax(student / temperature))

    (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"), the last term summed over the outputs that are
    paired with targets, each logits (batch, ..., classes), and averaged over the axes between batch and classes.

    The teacher answers in the training step, in inference, and no gradient goes through it. It is held by the function
    alone, so that its variables are no part of the student's.

    Args:
        teacher: from the student's inputs, or some of them, to at least the paired outputs.
        pairs: output to target, as the task has them.

    Raises:
        UserError: there is no pair, or the teacher lacks an output.
    """
    asked = models.named_inputs(teacher)
    answers = models.named_outputs(teacher)
    if not pairs:
        raise UserError("train.distill: this task has no outputs on which a student could be compared with a teacher; "
                        "leave it out")
    if missing := [output for output in pairs if output not in answers]:
        raise UserError(f"train.distill.teacher: it has no output {missing[0]}, it gives {', '.join(answers)}")
    answering = keras.Model(asked, {output: answers[output] for output in pairs})

    def total(inputs: Any, targets: Any, outputs: Any) -> Any:
        answers = answering({name: inputs[name] for name in asked}, training=False)
        loss = (1 - distillation.weight) * objective(inputs, targets, outputs)
        for output in pairs:
            divergence = _divergence(answers[output], outputs[output], distillation.temperature)
            loss = loss + distillation.weight * distillation.temperature**2 * divergence
        return loss

    return total


def _divergence(teacher: Any, student: Any, temperature: float) -> Any:
    """Return KL(teacher, student) of softened logits (batch, ..., classes), (batch,)."""
    softened = tf.nn.log_softmax(tf.stop_gradient(tf.cast(teacher, tf.float32)) / temperature)
    difference = softened - tf.nn.log_softmax(student / temperature)
    divergence = tf.reduce_sum(tf.exp(softened) * difference, axis=-1)
    return tf.reduce_mean(divergence, axis=list(range(1, len(divergence.shape))))
