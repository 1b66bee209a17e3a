"""Optimizers whose momentum changes from step to step, as the learning rate does."""
from __future__ import annotations

from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np


def cycled(optimizer: type, momenta: np.ndarray) -> type:
    """Return an optimizer class with the momentum of a step looked up.

    Args:
        optimizer: Keras' SGD, or one that calls its momentum beta_1: Adam, AdamW, Lamb, Lion.
        momenta: of every step, float32 (steps,); the last one's for any beyond.
    """
    def at(step: Any) -> Any:
        return keras.ops.take(momenta, keras.ops.minimum(keras.ops.cast(step, "int32"), len(momenta) - 1))

    class CycledSgd(keras.optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """Update v = momentum * v - rate * gradient; Nesterov looks one step ahead (Sutskever et al. 2013)."""
            rate, gradient = keras.ops.cast(learning_rate, variable.dtype), keras.ops.cast(gradient, variable.dtype)
            momentum = keras.ops.cast(at(self.iterations), variable.dtype)
            velocity = self.momentums[self._get_variable_index(variable)]
            new = momentum * velocity - rate * gradient
            self.assign(velocity, new)
            self.assign_add(variable, momentum * new - rate * gradient if self.nesterov else new)

    if issubclass(optimizer, keras.optimizers.SGD):
        return CycledSgd

    class CycledBeta(optimizer):
        @property
        def beta_1(self) -> Any:
            return at(self.iterations)

        @beta_1.setter
        def beta_1(self, value: float) -> None:
            """Ignore the constructor's: the table decides."""

    return CycledBeta
