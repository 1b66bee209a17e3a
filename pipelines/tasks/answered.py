"""An example of the test set with what a model answered to it: what the report draws."""
from __future__ import annotations

import dataclasses

from export.signature import Arrays


@dataclasses.dataclass(frozen=True)
class Answered:
    """An example and its answer.

    Args:
        wrong: how wrong the answer is, as the task's measure says it.
        position: in the test split.
        inputs, targets, outputs: by name, batches of one.
        rank: best, median or worst, where examples of all ranks are shown.
    """

    wrong: float
    position: int
    inputs: Arrays
    targets: Arrays
    outputs: Arrays
    rank: str = ""
