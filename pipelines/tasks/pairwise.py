"""The objective of tasks whose outputs are compared with a target each."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from export.signature import Tensor
from pipelines.ingest.index import Index
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss


def pairwise(loss: Loss, outputs: Sequence[Tensor], pairs: Mapping[str, str], index: Index) -> Objective:
    """Return the sum of a loss over outputs, each compared with its target.

    Args:
        pairs: output to target.
    """
    counts = index.counts.get("train", {})
    compared = [(output.name, pairs[output.name], loss.build(counts.get(pairs[output.name], []), output.role))
                for output in outputs]

    def total(inputs: Any, targets: Any, outputs: Any) -> Any:
        return sum(compare(targets[target], outputs[output]) for output, target, compare in compared)

    return total
