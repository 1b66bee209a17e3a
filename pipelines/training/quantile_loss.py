"""The loss of quantiles."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from etils import epy

from export.signature import Role
from pipelines.training.losses import Comparison, Loss

with epy.lazy_imports():
    import keras


class Pinball(Loss, name="pinball"):
    """The mean over quantiles q of max(q (y - f), (q - 1) (y - f)): it is least where f is the q-quantile of y.

    Koenker and Bassett, "Regression Quantiles", 1978. The quantiles are the task's: `task: {forecasting: [0.1, 0.5,
    0.9]}`.
    """

    of_classes: ClassVar[bool] = False
    by_position: ClassVar[bool] = False

    def comparison(self, counts: Sequence[int], role: Role) -> Comparison:
        return self.of_quantiles([0.5])

    def of_quantiles(self, quantiles: Sequence[float]) -> Comparison:
        """Return what compares targets (batch, horizon, targets) with outputs (batch, horizon, targets, quantiles)."""

        def pinball(targets: Any, outputs: Any) -> Any:
            if len(outputs.shape) == len(targets.shape):
                outputs = keras.ops.expand_dims(outputs, -1)
            levels = keras.ops.convert_to_tensor(quantiles, "float32")
            below = keras.ops.expand_dims(targets, -1) - outputs
            return keras.ops.mean(keras.ops.maximum(levels * below, (levels - 1) * below), axis=(1, 2, 3))

        return pinball
