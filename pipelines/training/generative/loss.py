"""What the losses of models that make examples have in common."""
from __future__ import annotations

from typing import Any

from export.signature import Role
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss


class GenerativeLoss(Loss):
    """A loss that does not compare an output with a target: it says how the parts of a model are trained together."""

    @classmethod
    def fits(cls, role: Role) -> bool:
        return False

    def objective(self) -> Objective:
        """Return the function of (inputs, targets, outputs) to each example's loss, (batch,)."""
        raise NotImplementedError

    def learner(self, library: Any) -> type:
        """Return the class of what is fitted, of keras or tf_keras."""
        raise NotImplementedError
