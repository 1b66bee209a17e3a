"""Losses as recipe entries, each from Keras where Keras has it."""
from __future__ import annotations

from etils import epy
from pydantic import Field

from pipelines.entries import Entry

with epy.lazy_imports():
    import keras


class Loss(Entry):
    """What training makes small."""

    def build(self) -> keras.losses.Loss:
        """The Keras loss of (targets, model outputs)."""
        raise NotImplementedError


class CrossEntropy(Loss, name="cross_entropy", shorthand="label_smoothing"):
    """Cross-entropy of one-hot targets and logits.

    Args:
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al. 2016, section 7).
    """

    label_smoothing: float = Field(0.0, ge=0, lt=1)

    def build(self) -> keras.losses.Loss:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.label_smoothing)
