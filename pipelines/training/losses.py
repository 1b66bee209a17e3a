"""Losses as recipe entries, each from Keras where Keras has it.

A model answers with logits and its targets are one-hot, so losses that Keras defines on probabilities see the softmax, and those on several
yes-or-no questions the sigmoid, one question per class.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from etils import epy
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Entry
from pipelines.errors import UserError
from pipelines.training import metric_learning

with epy.lazy_imports():
    import keras

Smoothing = Field(0.0, ge=0, lt=1)


class Loss(Entry):
    """What training makes small."""

    def build(self, class_counts: Sequence[int]) -> Any:
        """A function of (one-hot targets, logits), both (batch, classes), that gives the loss of each example, (batch,), or of all, ().

        It neither averages over the batch nor divides among devices: the library that trains does that, once.

        Args:
            class_counts: training examples of each class. Raises UserError where the loss has another number of classes.
        """
        raise NotImplementedError


class CrossEntropy(Loss, name="cross_entropy", shorthand="label_smoothing"):
    """Cross-entropy of one-hot targets and logits.

    Args:
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al. 2016, section 7).
        class_weights: a factor per class, or `balanced`: examples / (classes * examples of the class), as scikit-learn has it.
    """

    label_smoothing: float = Smoothing
    class_weights: Literal["balanced"] | list[float] | None = None

    @field_validator("class_weights")
    @classmethod
    def must_be_positive(cls, given: Any) -> Any:
        if isinstance(given, list) and min(given, default=0) <= 0:
            raise PydanticCustomError("class_weights", "give balanced, or a number above 0 for each class")
        return given

    def build(self, class_counts: Sequence[int]) -> Any:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.label_smoothing, reduction="none")
        if self.class_weights is None:
            return loss
        if self.class_weights == "balanced":
            weights = [sum(class_counts) / (len(class_counts) * count) for count in class_counts]
        elif len(self.class_weights) == len(class_counts):
            weights = list(self.class_weights)
        else:
            raise UserError(f"train.loss.cross_entropy.class_weights: {len(self.class_weights)} weights for {len(class_counts)} classes")

        def weighted(targets: Any, logits: Any) -> Any:
            return loss(targets, logits) * keras.ops.sum(targets * keras.ops.convert_to_tensor(weights, targets.dtype), -1)

        return weighted


class Focal(Loss, name="focal", shorthand="gamma"):
    """Cross-entropy that looks away from what is easy (Lin et al. 2017).

    Args:
        gamma: how much.
        alpha: factor on the loss.
    """

    gamma: float = Field(2.0, ge=0)
    alpha: float = Field(0.25, gt=0)
    label_smoothing: float = Smoothing

    def build(self, class_counts: Sequence[int]) -> Any:
        return keras.losses.CategoricalFocalCrossentropy(
            self.alpha, self.gamma, from_logits=True, label_smoothing=self.label_smoothing, reduction="none")


class BinaryCrossEntropy(Loss, name="binary_cross_entropy", shorthand="label_smoothing"):
    """Cross-entropy of a yes-or-no question per class."""

    label_smoothing: float = Smoothing

    def build(self, class_counts: Sequence[int]) -> Any:
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=self.label_smoothing, reduction="none")


class BinaryFocal(Loss, name="binary_focal", shorthand="gamma"):
    """Focal loss of a yes-or-no question per class (Lin et al. 2017); alpha weighs the yes."""

    gamma: float = Field(2.0, ge=0)
    alpha: float = Field(0.25, gt=0, lt=1)

    def build(self, class_counts: Sequence[int]) -> Any:
        return keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=True, alpha=self.alpha, gamma=self.gamma, from_logits=True, reduction="none")


class MeanSquaredError(Loss, name="mse"):
    """Mean squared difference of targets and probabilities: the Brier score over the classes (Brier 1950)."""

    def build(self, class_counts: Sequence[int]) -> Any:
        return _on_probabilities(keras.losses.MeanSquaredError(reduction="none"))


class MeanAbsoluteError(Loss, name="mae"):
    """Mean absolute difference of targets and probabilities."""

    def build(self, class_counts: Sequence[int]) -> Any:
        return _on_probabilities(keras.losses.MeanAbsoluteError(reduction="none"))


class Huber(Loss, name="huber", shorthand="delta"):
    """Squared difference of targets and probabilities up to delta, linear beyond (Huber 1964)."""

    delta: float = Field(0.5, gt=0)

    def build(self, class_counts: Sequence[int]) -> Any:
        return _on_probabilities(keras.losses.Huber(self.delta, reduction="none"))


class Dice(Loss, name="dice"):
    """One minus twice the overlap of targets and probabilities over their sum (Milletari et al. 2016)."""

    def build(self, class_counts: Sequence[int]) -> Any:
        return _on_probabilities(keras.losses.Dice(reduction="none"))


class KullbackLeibler(Loss, name="kl"):
    """Divergence of the probabilities from the targets."""

    def build(self, class_counts: Sequence[int]) -> Any:
        return _on_probabilities(keras.losses.KLDivergence(reduction="none"))


class MetricLearning(Loss):
    """Cross-entropy of the logits, and a loss on the distances between them, as between embeddings.

    Args:
        margin: the distance that classes should keep.
        weight: of the loss on distances.
    """

    margin: float = Field(1.0, gt=0)
    weight: float = Field(1.0, gt=0)

    def distance_loss(self, targets: Any, embeddings: Any) -> Any:
        raise NotImplementedError

    def build(self, class_counts: Sequence[int]) -> Any:
        cross_entropy = CrossEntropy().build(class_counts)
        return lambda targets, logits: cross_entropy(targets, logits) + self.weight * self.distance_loss(targets, logits)


class Triplet(MetricLearning, name="triplet", shorthand="margin"):
    """Cross-entropy, and for each example its farthest likeness nearer than its nearest other (Hermans et al. 2017)."""

    def distance_loss(self, targets: Any, embeddings: Any) -> Any:
        return metric_learning.batch_hard_triplet(targets, embeddings, self.margin)


class Contrastive(MetricLearning, name="contrastive", shorthand="margin"):
    """Cross-entropy, and likenesses pulled together, others pushed apart (Hadsell et al. 2006)."""

    def distance_loss(self, targets: Any, embeddings: Any) -> Any:
        return metric_learning.contrastive(targets, embeddings, self.margin)


def _on_probabilities(loss: Any) -> Any:
    def of_logits(targets: Any, logits: Any) -> Any:
        return loss(targets, keras.ops.softmax(logits))

    return of_logits


def on_heads(loss: Any, auxiliary: float) -> Any:
    """A loss on the main logits, plus `auxiliary` times that on each auxiliary head's (Szegedy et al. 2015, section 5).

    The model answers with logits (batch, heads, classes), the main ones first.
    """
    def of_all(targets: Any, logits: Any) -> Any:
        total = loss(targets, logits[:, 0])
        for head in range(1, logits.shape[1]):
            total = total + auxiliary * loss(targets, logits[:, head])
        return total

    return of_all


def taught(loss: Any, classes: int, temperature: float, weight: float) -> Any:
    """A loss on the truth, and on a teacher's answers: (1 - weight) loss + weight temperature^2 KL(teacher, student), both softened by
    the temperature (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network").

    Its targets are one-hot classes followed by the teacher's logits: (batch, 2 classes).
    """
    def of_both(targets: Any, logits: Any) -> Any:
        softened = keras.ops.log_softmax(targets[:, classes:] / temperature)
        difference = softened - keras.ops.log_softmax(logits / temperature)
        divergence = keras.ops.sum(keras.ops.exp(softened) * difference, axis=-1)
        return (1 - weight) * loss(targets[:, :classes], logits) + weight * temperature**2 * divergence

    return of_both
