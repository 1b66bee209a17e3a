"""Which training examples the ranges of integers are found with."""
from __future__ import annotations

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.data import Data
from pipelines.variants.settings import Calibration

with epy.lazy_imports():
    import numpy as np


def positions(data: Data, requested: Calibration, *, longest: bool = False) -> list[int]:
    """Return positions in the training split, drawn by the seed, in their order.

    Args:
        longest: the longest sequence is among them, where they differ in length: its cells may reach furthest.

    Raises:
        UserError: as many of each class are requested, and the task has no classes.
    """
    generator = np.random.default_rng(data.seed)
    examples = data.index.splits["train"].examples
    count = min(examples, requested.examples)
    if requested.balanced:
        result = _balanced(*_labels(data), count, generator)
    else:
        result = generator.choice(examples, count, replace=False)
    if longest and (one := _longest(data)) is not None and one not in result:
        result[0] = one
    return np.sort(result).tolist()


def _longest(data: Data) -> int | None:
    """Return the position of the longest of the training sequences; None where all are of one length. A sequence of
    real numbers is as long as it has steps that are not zeros."""
    roles = {name: tensor.role for name, tensor in data.index.inputs.items()}
    counted = [name for name, tensor in data.index.inputs.items()
               if tensor.role in ("tokens", "length") or (tensor.role == "values" and len(tensor.shape) == 2)]
    if not counted:
        return None
    lengths = []
    for inputs, _ in data.batches("train"):
        of_inputs = [inputs[name] if roles[name] == "length" else _steps(inputs[name]) for name in counted]
        lengths.append(np.sum(of_inputs, axis=0))
    known = np.concatenate(lengths)
    return None if (known == known[0]).all() else int(np.argmax(known))


def _steps(values: np.ndarray) -> np.ndarray:
    """Return how many steps of each sequence are not zeros, (examples,)."""
    there = values != 0
    return np.count_nonzero(there if values.ndim == 2 else there.any(axis=-1), axis=1)


def _labels(data: Data) -> tuple[np.ndarray, int]:
    """Return the class of each training example, (examples,), and how many classes there are. Raises UserError where
    there are none."""
    target = data.index.class_target
    if target is None:
        raise UserError("compress: balanced calibration takes as many examples of each class, and in "
                        f"{data.task.entry_name} an example has no class: leave balanced out")
    labels = [targets[target] for _, targets in data.batches("train")]
    return np.concatenate(labels), len(data.index.names(target))


def _balanced(labels: np.ndarray, classes: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return positions of `count` labels, as many of each class as there are, the first classes one more where it does
    not come out even."""
    by_class = [generator.permutation(np.flatnonzero(labels == label)) for label in range(classes)]
    most = max(map(len, by_class))
    rounds = [one[turn] for turn in range(most) for one in by_class if turn < len(one)]
    return np.array(rounds[:count])
