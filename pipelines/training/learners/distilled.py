"""Knowledge distillation: a student learns from a teacher's answers as well as from the truth (Hinton et al. 2015)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from etils import epy

import models
from export.signature import Role, Tensor
from pipelines.errors import UserError
from pipelines.training.distillation import Distillation
from pipelines.training.learners.supervised import Objective

with epy.lazy_imports():
    import keras
    import tensorflow as tf


def distilled(objective: Objective, teacher: keras.Model, distillation: Distillation, inputs: Sequence[str],
              outputs: Sequence[Tensor], pairs: Mapping[str, str] = MappingProxyType({})) -> Objective:
    """Return a loss on the truth and on a teacher's answers, of each example: (1 - weight) objective + weight
    imitation.

    What is imitated are the outputs that the task pairs with targets. Their terms are summed, and each is averaged over
    the axes between batch and classes, or over all but the batch. For logits, (batch, ..., classes), it is

        temperature^2 KL(softmax(teacher / temperature), softmax(student / temperature))

    (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"). An output of any other role has no
    probabilities that a temperature could soften: there it is (teacher - student)^2.

    Of texts, (batch, length, classes), tokens that are not learnt, padding and what is asked, are not imitated either.

    The teacher answers in the training step, in inference, and no gradient goes through it. It is held by the function
    alone, so that its variables are no part of the student's.

    Args:
        teacher: from the inputs, or some of them, to at least the outputs; see `matched`.
        inputs: the task's, by name.
        outputs: those that the task pairs with targets.
        pairs: output to the target, one-hot, that says what is learnt of it.

    Raises:
        UserError: there is no such output, or the teacher does not match.
    """
    if not outputs:
        raise UserError("train.distill: this task has no outputs on which a student could be compared with a teacher; "
                        "leave it out")
    asked, answers = matched(teacher, inputs, [output.name for output in outputs])
    answering = keras.Model(list(asked.values()), answers)

    def total(values: Any, targets: Any, students: Any) -> Any:
        teachers = answering([values[name] for name in asked], training=False)
        loss = (1 - distillation.weight) * objective(values, targets, students)
        for output in outputs:
            learnt = _learnt(output, targets.get(pairs.get(output.name, "")))
            imitation = _imitation(teachers[output.name], students[output.name], output.role, distillation.temperature,
                                   learnt)
            loss = loss + distillation.weight * imitation
        return loss

    return total


def matched(teacher: keras.Model, inputs: Sequence[str],
            outputs: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a teacher's symbolic inputs and outputs under the task's names.

    They are matched by name. Where the task and the teacher have one input each, it is that one whatever it is called,
    as in a file that was made elsewhere; likewise where one output is asked for, and the teacher gives one.

    Args:
        inputs: the task's, by name. The teacher may do with fewer.
        outputs: the names of those that the teacher must give. It may give more.

    Raises:
        UserError: the teacher takes an input that the task does not have, or lacks an output.
    """
    asked = models.named_inputs(teacher)
    answers = models.named_outputs(teacher)
    if len(inputs) == len(asked) == 1:
        asked = dict(zip(inputs, asked.values(), strict=True))
    if len(outputs) == len(answers) == 1:
        answers = dict(zip(outputs, answers.values(), strict=True))
    if unknown := [name for name in asked if name not in inputs]:
        raise UserError(f"train.distill.teacher: it takes an input {unknown[0]}, and this task has "
                        f"{', '.join(inputs)}")
    if missing := [name for name in outputs if name not in answers]:
        raise UserError(f"train.distill.teacher: it has no output {missing[0]}, it gives {', '.join(answers)}")
    return asked, {name: answers[name] for name in outputs}


def check_shapes(teacher: keras.Model, student: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Raise UserError where a teacher's inputs or answers have other shapes than the student's.

    A size that varies in one of the two goes with any in the other.

    Args:
        teacher: see `matched`.
        student: of either Keras.
        inputs: the task's, by name.
        outputs: the names of those on which the two are compared.
    """
    asked, answers = matched(teacher, inputs, outputs)
    mine, answered = models.named_inputs(student), models.named_outputs(student)
    if len(inputs) == len(mine) == 1:
        mine = dict(zip(inputs, mine.values(), strict=True))
    taken = [_shape(tensor) for tensor in asked.values()]
    needed = [_shape(mine[name]) for name in asked]
    for name in outputs:
        theirs, ours = _shape(answers[name]), _shape(answered[name])
        if not all(map(_alike, [*taken, theirs], [*needed, ours])):
            raise UserError(f"train.distill.teacher: it is a model from {taken} to {theirs}, the student from {needed} "
                            f"to {ours}; they must be the same")


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(tensor.shape[1:])


def _alike(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> bool:
    return len(one) == len(other) and all(a == b or None in (a, b) for a, b in zip(one, other, strict=True))


def _learnt(output: Tensor, target: Any) -> Any:
    """Return 1 for each token of a text that is learnt, 0 for others, (batch, length); 1 of other outputs."""
    if output.role != "logits" or len(output.shape) != 2 or target is None:
        return 1.0
    return tf.cast(tf.reduce_any(target > 0, axis=-1), tf.float32)


def _imitation(teacher: Any, student: Any, role: Role, temperature: float, learnt: Any) -> Any:
    """Return how far a student's output is from its teacher's, (batch,).

    Args:
        learnt: factor of each place of logits.
    """
    answer = tf.stop_gradient(tf.cast(teacher, tf.float32))
    if role == "logits":
        return temperature**2 * _divergence(answer, student, temperature, learnt)
    return _per_example(tf.math.squared_difference(answer, tf.cast(student, tf.float32)))


def _divergence(teacher: Any, student: Any, temperature: float, learnt: Any) -> Any:
    """Return KL(teacher, student) of softened logits (batch, ..., classes), (batch,)."""
    softened = tf.nn.log_softmax(teacher / temperature)
    difference = softened - tf.nn.log_softmax(student / temperature)
    return _per_example(learnt * tf.reduce_sum(tf.exp(softened) * difference, axis=-1))


def _per_example(values: Any) -> Any:
    return tf.reduce_mean(values, axis=list(range(1, len(values.shape))))
