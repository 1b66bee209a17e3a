"""Transfer learning: the pretrained layers are frozen at first, and learn later, the last ones first and at lower
rates."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from etils import epy
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from pipelines.entries import Section

with epy.lazy_imports():
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Phase:
    """Epochs in which the same layers learn.

    Args:
        number: of the phase, counted from 0.
        first, last: the epoch that it begins with, and the one before which it ends, counted from 0.
        unfrozen: share of the pretrained layers that learns.
    """

    number: int
    first: int
    last: int
    unfrozen: float


class Transfer(Section):
    """How pretrained layers learn. Layers without pretrained weights, the classifier, always do.

    Args:
        unfreeze: from which epoch on, counted from 0, which share of the pretrained layers learns, from the last one
            down; all others are frozen. {3: 0.3, 6: 1} trains the classifier for three epochs, then the last 30 % with
            it, then everything.
        rates: the learning rates of the last and of the first pretrained layer as shares of the classifier's; those
            between them lie between, in equal ratios (discriminative fine-tuning, Howard & Ruder 2018).
        batch_norm: frozen ones keep their statistics and parameters throughout.
    """

    unfreeze: dict[int, float] = Field({})
    rates: tuple[float, float] = (0.3, 0.03)
    batch_norm: Literal["frozen", "learn"] = "frozen"

    @field_validator("unfreeze")
    @classmethod
    def must_be_shares(cls, value: dict[int, float]) -> dict[int, float]:
        if any(epoch < 0 or not 0 <= share <= 1 for epoch, share in value.items()):
            raise PydanticCustomError(
                "unfreeze", "give epochs from 0 on with shares from 0 to 1, for instance {3: 0.3, 6: 1}")
        return dict(sorted(value.items()))

    @field_validator("rates")
    @classmethod
    def must_be_positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if min(value) <= 0:
            raise PydanticCustomError(
                "rates", "give the last and the first layer's rates as shares above 0, for instance [0.3, 0.03]")
        return value

    def phases(self, epochs: int) -> list[Phase]:
        """Return the phases of a training of so many epochs, in their order."""
        shares = {0: 0.0, **{epoch: share for epoch, share in self.unfreeze.items() if epoch < epochs}}
        firsts = sorted(shares)
        lasts = [*firsts[1:], epochs]
        return [Phase(number, first, last, shares[first])
                for number, (first, last) in enumerate(zip(firsts, lasts, strict=True))]

    def freeze(self, model: Any, pretrained: Sequence[str], unfrozen: float) -> None:
        """Freeze all but the last `unfrozen` of the pretrained layers."""
        learning = set(pretrained[len(pretrained) - round(unfrozen * len(pretrained)):])
        for layer in model.layers:
            if layer.name in pretrained or _inside(layer, pretrained):
                norm = type(layer).__name__ == "BatchNormalization" and self.batch_norm == "frozen"
                layer.trainable = not norm and (layer.name in learning or _inside(layer, learning))

    def shares(self, model: Any, pretrained: Sequence[str]) -> list[float]:
        """Return the rate of each trainable variable of a model as a share of the schedule's."""
        ratios = np.geomspace(self.rates[1], self.rates[0], num=max(2, len(pretrained)))[-len(pretrained):]
        of_layer = dict(zip(pretrained, ratios.tolist(), strict=True))
        shares: dict[int, float] = {}
        for layer in model._flatten_layers():
            if layer.name in of_layer:
                shares |= {id(variable): of_layer[layer.name] for variable in layer.trainable_variables}
        return [shares.get(id(variable), 1.0) for variable in model.trainable_variables]


def _inside(layer: Any, names: Any) -> bool:
    """Return whether a layer is made of layers, such as attention, of which some bear these names."""
    return any(inner.name in names for inner in layer._flatten_layers(include_self=False))


def with_rate_shares(optimizer: type, shares: Sequence[float]) -> type:
    """Return a Keras optimizer class in which each variable learns at its share of the learning rate.

    Args:
        optimizer: of Keras 3.
        shares: in the order of the variables that it is built with.
    """
    class RateShares(optimizer):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * shares[self._get_variable_index(variable)])

    return RateShares
