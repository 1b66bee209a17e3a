"""Losses as recipe entries, each from Keras where Keras has it.

A loss compares an output with its target, both of any rank, classes last: one row of classes per example, or one per
pixel or token of it. Targets are prepared: classes one-hot, numbers as they are. What the output is, its role says:
losses that Keras defines on probabilities see the softmax of logits, those on several yes-or-no questions their
sigmoid, and every other output as it is. Of dense outputs, positions whose target is no class, all 0 one-hot, are left
out: the mean of an example is over the others.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from etils import epy
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from export.signature import Role
from pipelines.entries import Entry
from pipelines.errors import UserError
from pipelines.training import metric_learning

with epy.lazy_imports():
    import keras

Smoothing = Field(0.0, ge=0, lt=1)
#: From targets and outputs, (batch, ..., classes or values), to the loss of each example, (batch,).
Comparison = Callable[[Any, Any], Any]
#: Roles of outputs that tell classes apart.
OF_CLASSES = ("logits", "scores", "mask")


class Loss(Entry):
    """What training makes small."""

    #: Whether each example must have one class, and not a mixture of several.
    whole_classes: ClassVar[bool] = False
    #: Whether it compares classes, and not numbers.
    of_classes: ClassVar[bool] = True
    #: Whether it is about the cosines of embeddings with the identities of training, which a head has, see `angular`.
    of_identities: ClassVar[bool] = False
    #: Whether `comparison` gives a loss for each position of a dense output, and not one for all of them.
    by_position: ClassVar[bool] = True

    @property
    def terms(self) -> list[tuple[float, Loss]]:
        """Return the losses that it is the sum of, each with its weight; by default itself alone."""
        return [(1.0, self)]

    @property
    def parts(self) -> list[Loss]:
        """Return the losses that it is made of."""
        return [part for _, part in self.terms]

    def build(self, counts: Sequence[int], role: Role) -> Comparison:
        """Return what compares targets with outputs.

        It neither averages over the batch nor divides among devices: the learner does that, once.

        Args:
            counts: training examples of each class; none where the target has no classes.
            role: of the output.

        Raises:
            UserError: the loss is for another number of classes, or the output is no such thing as it compares.
        """
        if not self.fits(role):
            fitting = sorted(name for name, choice in self.choices.items()
                             if choice.fits(role))  # type: ignore[attr-defined]
            compares = "embeddings" if self.of_identities else "classes"
            raise UserError(f"train.loss: {self.entry_name} compares {compares}, and this task's output is {role}: "
                            f"give one of {', '.join(fitting)}")
        compare = self.comparison(counts, role)
        has_classes = self.by_position and (self.of_classes or bool(counts))

        def by_example(targets: Any, outputs: Any) -> Any:
            values = compare(targets, outputs)
            is_by_position = has_classes and 1 < len(values.shape) == len(targets.shape) - 1
            return _mean_of_known(values, targets) if is_by_position else _per_example(values)

        return by_example

    @classmethod
    def fits(cls, role: Role) -> bool:
        """Return whether an output of this role can be compared."""
        return role in OF_CLASSES or not cls.of_classes

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        """Return a function as `build` does, whose result may have axes between batch and classes left."""
        raise NotImplementedError


class CrossEntropy(Loss, name="cross_entropy", shorthand="label_smoothing"):
    """Cross-entropy of one-hot targets and logits.

    Args:
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al. 2016, section 7).
        class_weights: a factor per class, or `balanced`: examples / (classes * examples of the class), as scikit-learn
            has it.
    """

    label_smoothing: float = Smoothing
    class_weights: Literal["balanced"] | list[float] | None = None

    @field_validator("class_weights")
    @classmethod
    def must_be_positive(cls, value: Any) -> Any:
        if isinstance(value, list) and min(value, default=0) <= 0:
            raise PydanticCustomError("class_weights", "give balanced, or a number above 0 for each class")
        return value

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=role == "logits", label_smoothing=self.label_smoothing, reduction="none")
        if self.class_weights is None:
            return loss
        weights = self._weights(counts)

        def weighted(targets: Any, outputs: Any) -> Any:
            factors = keras.ops.convert_to_tensor(weights, targets.dtype)
            return loss(targets, outputs) * keras.ops.sum(targets * factors, -1)

        return weighted

    def _weights(self, counts: Sequence[int]) -> list[float]:
        if self.class_weights == "balanced":
            # a class without training examples weighs nothing: no target has it
            return [sum(counts) / (len(counts) * count) if count else 0.0 for count in counts]
        weights: list[float] = list(self.class_weights or [])
        if len(weights) != len(counts):
            raise UserError(f"train.loss.cross_entropy.class_weights: {len(weights)} weights for {len(counts)} classes")
        return weights


class Focal(Loss, name="focal", shorthand="gamma"):
    """Cross-entropy that looks away from what is easy: -alpha (1 - p)^gamma log p, p the target class's probability.

    Lin et al., "Focal Loss for Dense Object Detection", 2017, equation 5, for several classes.

    Args:
        gamma: how much it looks away; 0 is cross-entropy.
        alpha: factor, the same for every class. The paper's differs between the two classes, see binary_focal.
    """

    gamma: float = Field(2.0, ge=0)
    alpha: float = Field(0.25, gt=0)
    label_smoothing: float = Smoothing

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        return keras.losses.CategoricalFocalCrossentropy(
            self.alpha, self.gamma, from_logits=role == "logits", label_smoothing=self.label_smoothing,
            reduction="none")


class BinaryCrossEntropy(Loss, name="binary_cross_entropy", shorthand="label_smoothing"):
    """Cross-entropy of a yes-or-no question per class, averaged over the questions."""

    label_smoothing: float = Smoothing

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        return keras.losses.BinaryCrossentropy(
            from_logits=role == "logits", label_smoothing=self.label_smoothing, reduction="none")


class BinaryFocal(Loss, name="binary_focal", shorthand="gamma"):
    """Focal loss of a yes-or-no question per class, averaged over the questions.

    Lin et al. 2017, equation 5: -alpha (1 - p)^gamma log p where the answer is yes, p the probability of yes, and
    -(1 - alpha) p^gamma log(1 - p) where it is no.
    """

    gamma: float = Field(2.0, ge=0)
    alpha: float = Field(0.25, gt=0, lt=1)

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        return keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=True, alpha=self.alpha, gamma=self.gamma, from_logits=role == "logits",
            reduction="none")


class OfNumbers(Loss):
    """What losses have in common that compare any numbers, and probabilities where the output is logits."""

    of_classes: ClassVar[bool] = False

    def keras_loss(self) -> Any:
        """Return Keras' loss, averaged over the last axis."""
        raise NotImplementedError

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        loss = self.keras_loss()

        def compare(targets: Any, outputs: Any) -> Any:
            targets, outputs = _aligned(targets, probabilities(outputs, role))
            return loss(targets, outputs)

        return compare


class MeanSquaredError(OfNumbers, name="mse"):
    """Mean squared difference; of probabilities it is the Brier score over the classes (Brier 1950)."""

    def keras_loss(self) -> Any:
        return keras.losses.MeanSquaredError(reduction="none")


class MeanAbsoluteError(OfNumbers, name="mae"):
    """Mean absolute difference."""

    def keras_loss(self) -> Any:
        return keras.losses.MeanAbsoluteError(reduction="none")


class Huber(OfNumbers, name="huber", shorthand="delta"):
    """Half the squared difference up to delta, and delta times (difference - delta / 2) beyond (Huber 1964)."""

    delta: float = Field(0.5, gt=0)

    def keras_loss(self) -> Any:
        return keras.losses.Huber(self.delta, reduction="none")


class Dice(Loss, name="dice"):
    """One minus twice the overlap of targets t and probabilities p over their sum: 1 - 2 sum(t p) / (sum(t) + sum(p)).

    Milletari et al., "V-Net", 2016, without its squares. Of dense outputs the sums run over the positions, class by
    class, with one position added to overlap and sum, so that a class that is nowhere costs little; the classes' mean
    is the loss. Of one row of classes per example they run over the classes.
    """

    by_position: ClassVar[bool] = False

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        def overlap(targets: Any, outputs: Any) -> Any:
            scores = probabilities(outputs, role)
            dense = len(scores.shape) > 2
            if dense:
                scores = scores * keras.ops.sum(targets, -1, keepdims=True)  # 0 where the target is no class
            axes = tuple(range(1, len(scores.shape) - 1)) if dense else (1,)
            added = 1.0 if dense else 1e-7
            shared = keras.ops.sum(targets * scores, axes)
            whole = keras.ops.sum(targets, axes) + keras.ops.sum(scores, axes)
            return 1.0 - (2.0 * shared + (added if dense else 0.0)) / (whole + added)

        return overlap


class KullbackLeibler(Loss, name="kl"):
    """Divergence of the probabilities p from the targets t: sum(t log(t / p)) over the classes."""

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        loss = keras.losses.KLDivergence(reduction="none")
        return lambda targets, outputs: loss(targets, probabilities(outputs, role))


class MetricLearning(Loss):
    """Cross-entropy of the logits, and a loss on the distances between them; of embeddings that loss alone.

    Args:
        margin: the distance that classes should keep.
        weight: of the loss on distances.
    """

    whole_classes: ClassVar[bool] = True
    margin: float = Field(1.0, gt=0)
    weight: float = Field(1.0, gt=0)

    def distance_loss(self, targets: Any, embeddings: Any) -> Any:
        """Return the loss of each example, (batch,).

        Args:
            targets: (batch, classes), one-hot.
            embeddings: (batch, units).
        """
        raise NotImplementedError

    @classmethod
    def fits(cls, role: Role) -> bool:
        return role == "embedding" or super().fits(role)

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        if role == "embedding":
            return lambda targets, embeddings: self.weight * self.distance_loss(targets, embeddings)
        cross_entropy = CrossEntropy().comparison(counts, role)
        return lambda targets, outputs: (cross_entropy(targets, outputs)
                                         + self.weight * self.distance_loss(targets, outputs))


class Triplet(MetricLearning, name="triplet", shorthand="margin"):
    """Cross-entropy, and for each example its farthest likeness nearer than its nearest other (Hermans et al. 2017)."""

    def distance_loss(self, targets: Any, embeddings: Any) -> Any:
        return metric_learning.batch_hard_triplet(targets, embeddings, self.margin)


class Contrastive(MetricLearning, name="contrastive", shorthand="margin"):
    """Cross-entropy, and likenesses pulled together, others pushed apart (Hadsell et al. 2006)."""

    def distance_loss(self, targets: Any, embeddings: Any) -> Any:
        return metric_learning.contrastive(targets, embeddings, self.margin)


def probabilities(outputs: Any, role: Role) -> Any:
    """Return the softmax of logits, and every other output as it is."""
    return keras.ops.softmax(outputs) if role == "logits" else outputs


def _aligned(targets: Any, outputs: Any) -> tuple[Any, Any]:
    """Return both in equal rank, with a last axis to average over: one number per example may be (batch,) or (batch,
    1)."""
    rank = max(len(targets.shape), len(outputs.shape), 2)
    targets, outputs = (values if len(values.shape) == rank else keras.ops.expand_dims(values, -1)
                        for values in (targets, outputs))
    return targets, outputs


def _per_example(values: Any) -> Any:
    """Return the mean over all axes but the batch's; a loss of all examples together, (), as it is."""
    return keras.ops.mean(values, tuple(range(1, len(values.shape)))) if len(values.shape) > 1 else values


def _mean_of_known(values: Any, targets: Any) -> Any:
    """Return the mean over the positions that have a class, (batch, ...) to (batch,); 0 where none has."""
    known = keras.ops.cast(keras.ops.any(targets > 0, -1), values.dtype)
    axes = tuple(range(1, len(values.shape)))
    return keras.ops.sum(values * known, axes) / keras.ops.maximum(keras.ops.sum(known, axes), 1.0)
