"""Optimizers as recipe entries, each Keras' own. The learning rate belongs to the schedule."""
from __future__ import annotations

from typing import Any

from etils import epy
from pydantic import Field

from pipelines.entries import Entry

with epy.lazy_imports():
    import keras


class Optimizer(Entry):
    """The rule by which gradients change weights."""

    clip_norm: float | None = Field(None, gt=0, description="largest norm of all gradients together")

    def build(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        """The Keras optimizer with `learning_rate`, a number or a Keras schedule."""
        raise NotImplementedError


class Sgd(Optimizer, name="sgd"):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013)."""

    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0)

    def build(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(learning_rate, momentum=self.momentum, nesterov=self.nesterov,
                                    weight_decay=self.weight_decay or None, global_clipnorm=self.clip_norm)


class Adam(Optimizer, name="adam"):
    """Adaptive moments (Kingma & Ba 2015)."""

    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)

    def build(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(learning_rate, beta_1=self.beta_1, beta_2=self.beta_2, global_clipnorm=self.clip_norm)


class AdamW(Optimizer, name="adamw", shorthand="weight_decay"):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); biases and normalization parameters do not decay."""

    weight_decay: float = Field(0.01, ge=0)
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)

    def build(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=self.weight_decay, beta_1=self.beta_1,
                                           beta_2=self.beta_2, global_clipnorm=self.clip_norm)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer
