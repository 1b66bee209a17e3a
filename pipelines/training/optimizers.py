"""Optimizers as recipe entries, each Keras' own. The learning rate belongs to the schedule."""
from __future__ import annotations

from typing import Any, ClassVar

from etils import epy
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Entry

with epy.lazy_imports():
    import keras

Momentum = Field(0.9, ge=0, lt=1)
#: Parameters that weight decay leaves alone, by name: biases, and the scales and offsets of normalization.
UNDECAYED = ["bias", "gamma", "beta"]


class Optimizer(Entry):
    """The rule by which gradients change weights.

    Args:
        clip_norm: largest norm of all gradients together.
        clip_value: largest absolute value of a gradient.
        accumulate: training steps whose gradients are averaged into one change of the weights.
        loss_scale: factor on the loss that keeps small float16 gradients from vanishing; gradients are divided by it again.
        weight_decay: share of each weight, times the rate, taken off per step; biases and normalization parameters do not decay.
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

    def own(self) -> dict[str, Any]:
        """The settings that only this optimizer has, by Keras' names."""
        return {name: value for name, value in self.model_dump().items() if name not in Optimizer.model_fields}

    def build(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        """The Keras optimizer with `learning_rate`, a number or a Keras schedule."""
        decay = self.weight_decay if self.weight_decay or self.keras_name == "AdamW" else None
        optimizer = getattr(keras.optimizers, self.keras_name)(
            learning_rate, weight_decay=decay, global_clipnorm=self.clip_norm, clipvalue=self.clip_value,
            gradient_accumulation_steps=self.accumulate if self.accumulate > 1 else None, loss_scale_factor=self.loss_scale, **self.own())
        if self.weight_decay:
            optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
        return optimizer


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

    def own(self) -> dict[str, Any]:
        return {**super().own(), "adam_weight_decay": self.weight_decay}
