"""The columns of a table as inputs of a model, and what it learns as its output."""
from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np

#: Tensors that are put together at once, at most.
MOST_TOGETHER = 10


@dataclasses.dataclass(frozen=True)
class Column:
    """A column.

    Args:
        name: of the model's input.
        words: of a category, how many positions there are, the one for unknown words among them; 0 of a number.
        mean, deviation: of a number, in the training data.
        missing: what a missing number, NaN, stands for.
    """

    name: str
    words: int = 0
    mean: float = 0.0
    deviation: float = 1.0
    missing: float = 0.0


@dataclasses.dataclass(frozen=True)
class Target:
    """What is learnt: one of several classes, or a number where there are no classes.

    Args:
        mean, deviation: of the number, in the training data.
    """

    classes: int = 0
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def outputs(self) -> int:
        """Return how many numbers a model has to say about an example."""
        return self.classes or 1


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table, as a builder takes them.

    Args:
        each: at least one.
    """

    each: Sequence[Column]

    def __str__(self) -> str:
        return f"{len(self.each)} columns"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The inputs of a model of a table.

    Args:
        given: what goes into `keras.Model`: column name to (batch,).
        numbers: column name to standardized number, float32 (batch, 1); none is missing.
        words: column name to positions, int32 (batch, 1).
    """

    given: dict[str, Any]
    numbers: dict[str, Any]
    words: dict[str, Any]


def numeric_columns(count: int) -> Columns:
    """Return columns of numbers, for the dimensions of papers."""
    return Columns([Column(f"x{number}") for number in range(1, count + 1)])


def inputs(columns: Columns) -> Inputs:
    """Return the inputs of a model, numbers standardized and missing ones replaced within it.

    That is (x - mean) / deviation, where x is `missing` if it is NaN: a difference, a product, a comparison and a
    choice, which every format that a model is brought to has.
    """
    numbers: dict[str, Any] = {}
    words: dict[str, Any] = {}
    given = {column.name: keras.Input((), name=column.name, dtype="int32" if column.words else "float32")
             for column in columns.each}
    for column in columns.each:
        value = keras.layers.Reshape((1,), name=f"{column.name}_in")(given[column.name])
        if column.words:
            words[column.name] = value
        else:
            scaled = (value - column.mean) * (1 / column.deviation)
            usual = (column.missing - column.mean) / column.deviation
            # the choice comes last: a difference and a product would be fused into a dense layer that follows
            numbers[column.name] = keras.ops.where(keras.ops.not_equal(scaled, scaled), usual, scaled)
    return Inputs(given, numbers, words)


def embedded(taken: Inputs, columns: Columns, most: int) -> Any:
    """Return all columns side by side, float32 (batch, features): standardized numbers, and words embedded.

    Args:
        most: features of a word; a vocabulary of n words gets (n + 1) // 2 where that is less.
    """
    layers = keras.layers
    parts = list(taken.numbers.values())
    for column in columns.each:
        if column.words:
            width = min(most, (column.words + 1) // 2)
            vector = layers.Embedding(max(2, column.words), width, name=f"{column.name}_embedding")
            parts.append(layers.Reshape((width,))(vector(taken.words[column.name])))
    return side_by_side(parts)


def fill_unseen(model: Any, counts: Mapping[str, Any]) -> None:
    """Give positions that no training row has the mean of the others' weights, each as often as training has it.

    So an unknown word is taken for an average one where no rare word has taught the model what to answer: exactly in a
    linear part, and nearly where layers follow.

    Args:
        model: a builder's, of a table, trained; it is changed.
        counts: category column to how many training rows have each position, (words,).
    """
    shares = {name: rows / rows.sum() for name, rows in counts.items()}
    lookups = {f"{name}_{kind}": [share] for name, share in shares.items() for kind in ("embedding", "token", "wide")}
    for first, second in itertools.permutations(shares, 2):
        lookups[f"{first}_by_{second}_wide"] = [shares[first], shares[second]]
    for layer in model.layers:
        if layer.name in lookups:
            weights = np.array(layer.get_weights()[0])
            _fill(weights, lookups[layer.name])
            layer.set_weights([weights])


def _fill(weights: np.ndarray, shares: Sequence[np.ndarray]) -> None:
    """Write the means into weights, (positions, units); of a cross each position is one of the first column and one of
    the second."""
    sizes = [len(share) for share in shares]
    table = weights[:math.prod(sizes)].reshape(*sizes, -1)
    for axis, share in enumerate(shares):
        rows = np.moveaxis(table, axis, 0)
        rows[share == 0] = np.tensordot(share, rows, 1)


def hidden(x: Any, units: Sequence[int], dropout: float, name: str) -> Any:
    """Return what dense ReLU layers make of x, dropout after each; they are called `name`_1 and so on."""
    for number, width in enumerate(units, 1):
        x = keras.layers.Dense(width, "relu", name=f"{name}_{number}")(x)
        x = keras.layers.Dropout(dropout)(x)
    return x


def side_by_side(parts: Sequence[Any], axis: int = -1) -> Any:
    """Return tensors put together along an axis, ten at a time: TensorFlow Lite Micro takes no more."""
    while len(parts) > 1:
        groups = [parts[start:start + MOST_TOGETHER] for start in range(0, len(parts), MOST_TOGETHER)]
        parts = [keras.layers.Concatenate(axis=axis)(group) if len(group) > 1 else group[0] for group in groups]
    return parts[0]


def answer(x: Any, target: Target) -> dict[str, Any]:
    """Return a model's outputs: `logits` (batch, classes) of classes; of a number `value` (batch,), in its own units.

    Args:
        x: (batch, target.outputs).
    """
    if target.classes:
        return {"logits": x}
    return {"value": keras.layers.Reshape((), name="in_units")(x * target.deviation + target.mean)}
