"""Optimizers as recipe entries, each Keras' own. The learning rate belongs to the schedule."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from etils import epy
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Entry
from pipelines.errors import UserError
from pipelines.training.momentum import cycled
from pipelines.training.transfer import with_rate_shares

with epy.lazy_imports():
    import keras
    import numpy as np
    import tensorflow as tf

Momentum = Field(0.9, ge=0, lt=1)
#: Parameters that weight decay leaves alone, by name: biases, and the scales and offsets of normalization.
UNDECAYED = ["bias", "gamma", "beta"]
#: Optimizers that tf_keras, in which several workers train, does not have.
KERAS_3_ONLY = {"lamb", "muon"}


class Optimizer(Entry):
    """The rule by which gradients change weights.

    Args:
        clip_norm: largest norm of all gradients together.
        clip_value: largest absolute value of a gradient.
        accumulate: training steps whose gradients are averaged into one change of the weights.
        loss_scale: factor on the loss that keeps small float16 gradients from vanishing; gradients are divided by it
            again.
        weight_decay: share of each weight, times the rate, taken off per step; biases and normalization parameters do
            not decay.
    """

    keras_name: ClassVar[str] = ""
    clip_norm: float | None = Field(None, gt=0)
    clip_value: float | None = Field(None, gt=0)
    accumulate: int = Field(1, ge=1)
    loss_scale: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def one_way_to_clip(self) -> Optimizer:
        if self.clip_norm and self.clip_value:
            raise PydanticCustomError("clip", "give clip_norm or clip_value, not both")
        return self

    def specific(self) -> dict[str, Any]:
        """Return the settings that only this optimizer has, by Keras' names."""
        return {name: value for name, value in self.model_dump().items() if name not in Optimizer.model_fields}

    def build(self, rates: np.ndarray | float, library: Any = None, momenta: np.ndarray | None = None,
              shares: Sequence[float] | None = None) -> Any:
        """Return the optimizer.

        Args:
            rates: the learning rate of every step, float32 (steps,), the last one's for any beyond; or one number for
                all.
            library: keras, which is the default, or tf_keras.
            momenta: the momentum of every step, for optimizers that have one.
            shares: of the rate, for each trainable variable; the whole for all by default.

        Raises:
            UserError: tf_keras has no such optimizer, or not that setting.
        """
        library = library or keras
        settings: dict[str, Any] = {
            "learning_rate": rates if isinstance(rates, float) else _tabulated(rates, library),
            "weight_decay": self.weight_decay if self.weight_decay or self.keras_name == "AdamW" else None,
            "global_clipnorm": self.clip_norm, "clipvalue": self.clip_value, **self.specific()}
        if library.__name__ == "keras":
            settings |= {"gradient_accumulation_steps": self.accumulate if self.accumulate > 1 else None,
                         "loss_scale_factor": self.loss_scale}
        else:
            if reason := self.why_alone():
                raise UserError(f"train.optimizer: {reason}")
        kind = getattr(library.optimizers, self.keras_name)
        kind = kind if momenta is None else cycled(kind, momenta)
        if shares is not None:
            if library.__name__ != "keras":
                raise UserError("train.transfer: does not go with several workers, which train in tf_keras; use "
                                "strategy: one or mirrored")
            kind = with_rate_shares(kind, shares)
        optimizer = kind(**settings)
        if self.weight_decay:
            optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
        return optimizer

    def why_alone(self) -> str:
        """Return why this optimizer does not go with several workers, which train in tf_keras; empty where it does."""
        if self.entry_name in KERAS_3_ONLY:
            return (f"{self.entry_name} does not go with several workers, which train in tf_keras; take "
                    f"{', '.join(sorted(set(Optimizer.choices) - KERAS_3_ONLY))}")
        for name, default in (("accumulate", 1), ("loss_scale", None)):
            if getattr(self, name) != default:
                return f"{name} does not go with several workers, which train in tf_keras; leave it out"
        return ""

    @property
    def momentum_can_cycle(self) -> bool:
        """Return whether a schedule can change its momentum."""
        return self.keras_name == "SGD" or "beta_1" in type(self).model_fields


def _tabulated(rates: np.ndarray, library: Any) -> Any:
    """Return a schedule that looks the rate of a step up."""

    class Tabulated(library.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return tf.gather(rates, tf.minimum(tf.cast(step, tf.int32), len(rates) - 1))

        def get_config(self):
            return {}

    return Tabulated()


class Sgd(Optimizer, name="sgd", shorthand="momentum"):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013)."""

    keras_name = "SGD"
    momentum: float = Momentum
    nesterov: bool = False


class Adam(Optimizer, name="adam"):
    """Adaptive moments (Kingma & Ba 2015)."""

    keras_name = "Adam"
    beta_1: float = Momentum
    beta_2: float = Field(0.999, ge=0, lt=1)


class AdamW(Optimizer, name="adamw", shorthand="weight_decay"):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    keras_name = "AdamW"
    weight_decay: float = Field(0.01, ge=0)
    beta_1: float = Momentum
    beta_2: float = Field(0.999, ge=0, lt=1)


class Lamb(Optimizer, name="lamb"):
    """Layer-wise adaptive rates for large batches (You et al. 2020)."""

    keras_name = "Lamb"
    beta_1: float = Momentum
    beta_2: float = Field(0.999, ge=0, lt=1)


class Lion(Optimizer, name="lion"):
    """The sign of a momentum (Chen et al. 2023); wants a rate three to ten times lower than Adam's."""

    keras_name = "Lion"
    beta_1: float = Momentum
    beta_2: float = Field(0.99, ge=0, lt=1)


class RmsProp(Optimizer, name="rmsprop"):
    """Gradients over their root mean square (Tieleman & Hinton 2012)."""

    keras_name = "RMSprop"
    rho: float = Field(0.9, ge=0, lt=1)
    momentum: float = Field(0.0, ge=0, lt=1)


class Adagrad(Optimizer, name="adagrad"):
    """Gradients over the root of the sum of their squares (Duchi et al. 2011)."""

    keras_name = "Adagrad"
    initial_accumulator_value: float = Field(0.1, ge=0)


class Adafactor(Optimizer, name="adafactor"):
    """Adam with factored second moments, for little memory (Shazeer & Stern 2018)."""

    keras_name = "Adafactor"
    relative_step: bool = False


class Muon(Optimizer, name="muon"):
    """Orthogonalized momentum for matrices, AdamW for the rest (Jordan et al. 2024)."""

    keras_name = "Muon"
    momentum: float = Field(0.95, ge=0, lt=1)

    def specific(self) -> dict[str, Any]:
        return {**super().specific(), "adam_weight_decay": self.weight_decay}
