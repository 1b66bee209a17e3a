"""Auxiliary heads: outputs that only training looks at, which bring its gradients closer to the first layers."""
from __future__ import annotations

from typing import Any

from models.outputs import AUXILIARY
from pipelines.training.learners.supervised import Objective


def with_auxiliary(objective: Objective, output: str, weight: float, alone: Objective | None = None) -> Objective:
    """Return the objective plus `weight` times that on each auxiliary head in the place of an output (Szegedy et al.
    2015, section 5).

    Heads are the outputs whose names begin with "auxiliary"; without any, or with a weight of 0, the objective stays
    what it is. All of them stand for the same output: it is called once, not for each output of a task.

    Args:
        output: what the heads stand for.
        weight: of each head.
        alone: the part of the objective that is about this output; the objective itself where not given, as where there
            is no other output.
    """
    if not weight:
        return objective
    on_head = alone or objective

    def total(inputs: Any, targets: Any, outputs: Any) -> Any:
        loss = objective(inputs, targets, outputs)
        for name in sorted(outputs):
            if name.startswith(AUXILIARY):
                loss = loss + weight * on_head(inputs, targets, {**outputs, output: outputs[name]})
        return loss

    return total
