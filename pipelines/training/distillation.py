"""Knowledge distillation: a student learns from the answers of a teacher as well as from the truth (Hinton et al. 2015)."""
from __future__ import annotations

from typing import Any

from etils import epy
from pydantic import Field

from pipelines.entries import Section

with epy.lazy_imports():
    import tensorflow as tf


class Distillation(Section):
    """How much a teacher says.

    Args:
        temperature: softens the answers of both; above 1, small probabilities count more.
        weight: of the teacher's answers in the loss; what is left is the truth's.
    """

    temperature: float = Field(4.0, gt=0)
    weight: float = Field(0.7, gt=0, le=1)


class DistillationSection(Distillation):
    """A teacher and how much it says.

    Args:
        teacher: a recipe, which is trained first, or a .keras file; of the same pictures and classes.
    """

    teacher: str = Field(min_length=1)

    @property
    def is_recipe(self) -> bool:
        return self.teacher.endswith((".yaml", ".yml"))


def with_answers(batches: tf.data.Dataset, teacher: Any) -> tf.data.Dataset:
    """Batches of (pictures, one-hot targets) whose targets are followed by the teacher's logits: (batch, 2 classes).

    Args:
        teacher: a Keras model from the same pictures to logits (batch, classes).
    """
    return batches.map(lambda pictures, targets: (pictures, tf.concat([targets, teacher(pictures, training=False)], axis=-1)),
                       num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
